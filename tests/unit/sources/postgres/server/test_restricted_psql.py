"""A script under a word that its author could not know, and otherwise as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.sources.postgres.server.restricted_psql import is_known_to, restricted, without_words
from holdfast.sources.postgres.server.tools import Tool

HEAD = b"--\n-- PostgreSQL database dump\n--\n\n"
BODY = (
    b"SET x = 1;\nCREATE FUNCTION f() AS $$\n\\restrict inside\n\\unrestrict inside\n$$;\n"
    + b"-- filler\n" * 1000
)
END = b"-- PostgreSQL database dump complete\n--\n\n"
LAST = b"--\n-- PostgreSQL database cluster dump complete\n--\n"
DUMPED = HEAD + b"\\restrict a1B2\n\n" + BODY + END + b"\\unrestrict a1B2\n\n" + LAST
PLAIN = HEAD + b"\n\n" + BODY + END + b"\n\n" + LAST


def psql(version: str) -> Tool:
    return Tool(path=Path("/usr/bin/psql"), version=version, major=int(version[:2]))


@pytest.mark.parametrize("size", [1, 7, 4096, len(DUMPED)])
def test_the_two_lines_of_pg_dump_go_and_nothing_else(size: int) -> None:
    pieces = (DUMPED[start : start + size] for start in range(0, len(DUMPED), size))
    assert b"".join(without_words(pieces)) == PLAIN


@pytest.mark.parametrize(
    "script", [b"", b"SET x = 1;\n", b"\\restrict x", b"SELECT 1;\n\\restrict x\n", PLAIN]
)
def test_a_script_without_them_stays_as_it_is(script: bytes) -> None:
    assert b"".join(without_words(iter([script]))) == script


def test_whoever_knows_the_word_in_a_script_does_not_know_ours() -> None:
    ours = [b"".join(restricted(iter([DUMPED]), psql("17.6"))) for _ in range(2)]
    assert all(each.startswith(b"\\restrict ") and each.endswith(PLAIN) for each in ours)
    assert ours[0] != ours[1]
    assert b"\\unrestrict a1B2" not in ours[0]


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("12.22", False),
        ("13.21", False),
        ("13.22", True),
        ("15.9", False),
        ("15.14", True),
        ("17beta1", False),
        ("17.5", False),
        ("17.12", True),
        ("18.0", True),
        ("19devel", True),
    ],
)
def test_an_older_release_is_told_nothing_that_it_does_not_know(version: str, known: bool) -> None:
    assert is_known_to(psql(version)) is known
    told = b"".join(restricted(iter([DUMPED]), psql(version)))
    assert told.startswith(b"\\restrict ") is known
    assert told.endswith(PLAIN)
