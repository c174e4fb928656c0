from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.sources.mysql.server.names import quoted, slug, unquoted


@given(st.text())
def test_a_quoted_name_reads_back_as_itself(name: str) -> None:
    assert unquoted(quoted(name)) == name


@given(st.text())
def test_a_slug_is_safe_on_every_store(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", slug(name))


@pytest.mark.parametrize(("name", "made"), [("Order Items", "order-items"), ("日本", "table")])
def test_a_slug_keeps_what_a_human_recognises(name: str, made: str) -> None:
    assert slug(name) == made
