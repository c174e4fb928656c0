from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model.backup import Relation
from holdfast.sources.postgres.server.quoting import (
    SLUG_LENGTH,
    identifier,
    literal,
    qualified,
    slug,
)
from holdfast.sources.postgres.server.statements import unquoted


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("plain", '"plain"'),
        ("Capital", '"Capital"'),
        ('say "hi"', '"say ""hi"""'),
        ("a.b; --", '"a.b; --"'),
        ("back\\slash\nline", '"back\\slash\nline"'),
    ],
)
def test_a_name_is_quoted_whatever_it_holds(name: str, quoted: str) -> None:
    assert identifier(name) == quoted


@given(st.text())
def test_a_quoted_name_reads_back_as_itself(name: str) -> None:
    assert unquoted(identifier(name)) == name


def test_a_dot_inside_a_name_does_not_become_the_dot_between_names() -> None:
    assert qualified(Relation(schema="a.b", name="c")) == '"a.b"."c"'


def test_a_literal_doubles_quotes_and_leaves_backslashes() -> None:
    assert literal("it's \\ x") == "'it''s \\ x'"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Orders 2020", "public-orders-2020"),
        ("Größe", "public-groe"),
        ("../../etc/passwd", "public-etc-passwd"),
        ("日本", "public"),
    ],
)
def test_a_slug_keeps_what_a_person_recognises(name: str, expected: str) -> None:
    assert slug(Relation(schema="public", name=name)) == expected


@given(st.text(), st.text())
def test_a_slug_is_safe_on_every_store(schema: str, name: str) -> None:
    made = slug(Relation(schema=schema, name=name))
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", made)
    assert len(made) <= SLUG_LENGTH
