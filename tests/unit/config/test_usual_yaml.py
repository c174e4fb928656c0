"""What is read without the YAML library is read as the library reads it, and the rest is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from holdfast.config import usual_yaml, yaml_document
from holdfast.config.document import Document

BLOCKS = """\
# a comment
state_directory: /var/lib/holdfast-state   # and another
repositories:
  main: {kind: local, path: /var/lib/holdfast}
  far:
    kind: s3
    endpoint: https://s3.example.com:8443/x?a=b
jobs:
  shop:
    source: {kind: postgres, dsn: "host=/run/postgresql dbname=shop"}
    repository: main
    mirrors:
    - far
    - 'near: by'
    hooks:
      before:
        - run: [/bin/true, "-v", a b]
          timeout: 5m
        -   run: []
    retention: { daily: 7 , weekly: 0 }
    checksums: true
    chunk_size: 500MB
    notes: {}
"""
LEFT = [
    "",
    "a",
    "a:",
    "a:\nb: 1",
    "a: no",
    "a: Yes",
    "on: 1",
    "a: null",
    "a: ~",
    "a: 010",
    "a: 0x1f",
    "a: 1_000",
    "a: 1.5",
    "a: 1:30",
    "a: -1",
    "a: 2026-11-30",
    "a: &here b",
    "a: *here",
    "a: !!str b",
    "a: |\n  b",
    "a: b\n  c",
    'a: "b\\n"',
    "a: 'it''s'",
    "a: b: c",
    "a: [b",
    "a: [b, ]",
    "a: {b}",
    "a: {b: }",
    "a: {b: c: d}",
    'a: {"b": c}',
    "a: [b] c",
    "a: 1\na: 2",
    "a: {b: 1, b: 2}",
    "a: 1\n b: 2",
    "a:\n  b: 1\n c: 2",
    "a:\n b: 1\n  c: 2",
    "- a\nb: 1",
    "a: 1\n- b",
    "- - a",
    "-\n  a: 1",
    "a:\tb",
    "a: \u00e9",
    "a: b\r\nc: d",
    "a: 1\n---\nb: 2",
    "%YAML 1.1\n---\na: 1",
    "<<: {a: 1}",
    f"a: {'9' * 19}",
    f"{'a' * 1025}: 1",
    f"a: {'[' * 40}{']' * 40}",
    "\n".join(f"{' ' * at}a:" for at in range(40)) + " 1",
]


def by_library(text: str) -> Document:
    return yaml_document.parse(text)


def test_a_usual_configuration_is_read_as_the_library_reads_it() -> None:
    found = usual_yaml.usual(BLOCKS)
    assert found == by_library(BLOCKS)
    assert found is not None
    assert found.data["jobs"]["shop"]["mirrors"] == ["far", "near: by"]
    assert found.data["jobs"]["shop"]["retention"] == {"daily": 7, "weekly": 0}
    assert found.lines["jobs", "shop", "hooks", "before", "0", "timeout"] == 18


def test_the_configuration_of_the_package_needs_no_library() -> None:
    text = (Path(__file__).parents[3] / "release/debian/holdfast.yaml").read_text()
    assert usual_yaml.usual(text) == by_library(text)


@pytest.mark.parametrize("text", LEFT, ids=lambda text: repr(text)[:24])
def test_what_is_not_usual_is_left_to_the_library(text: str) -> None:
    assert usual_yaml.usual(text) is None


def test_a_mistake_is_told_by_the_library() -> None:
    (problem,) = usual_yaml.parse("a: 1\nb: [\n").problems
    assert problem.what.startswith("it is not YAML: ")


# Where what is usual ends: marks, and texts that are something else to YAML.
PIECES = [
    *"\n :-#'\"{}[],&*!|>%@`~?=.01ay/_",
    *("\n  ", "\n- ", "- ", ": ", " #", "no", "true", "0x1", "1_0", "1.5", "2001-01-01", "<<"),
]


@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(BLOCKS)), st.booleans(), st.sampled_from(PIECES)),
        min_size=1,
        max_size=4,
    )
)
def test_a_changed_configuration_is_read_alike_or_left(
    edits: list[tuple[int, bool, str]],
) -> None:
    text = BLOCKS
    for at, is_instead, piece in edits:
        text = text[:at] + piece + text[at + is_instead :]
    found = usual_yaml.usual(text)
    if found is not None:
        expected = by_library(text)
        assert found == expected
        # 1 equals True.
        assert repr(found.data) == repr(expected.data)
