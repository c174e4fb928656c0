from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.model.errors import ToolMissing
from holdfast.sources.postgres.server import client_programs
from holdfast.sources.postgres.server.client_programs import (
    Headings,
    Tool,
    is_known_to,
    restricted,
    without_words,
)


def installed(root: Path, *versions: str) -> list[Path]:
    folders = []
    for version in versions:
        folder = root / version
        folder.mkdir()
        program = folder / "pg_dump"
        program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version} (Debian x)'\n")
        program.chmod(0o755)
        folders.append(folder)
    return folders


@pytest.mark.parametrize(
    ("versions", "server", "chosen"),
    [
        (("15.3", "17.1", "18.0"), 17, "17.1"),
        (("15.3", "18.0"), 17, "18.0"),
        (("17beta1",), 17, "17beta1"),
    ],
)
def test_the_servers_own_version_is_chosen_else_the_next_newer(
    tmp_path: Path, versions: tuple[str, ...], server: int, chosen: str
) -> None:
    folders = installed(tmp_path, *versions)
    assert client_programs.find("pg_dump", server, f"{server}.0", folders=folders).version == chosen


def test_a_tool_that_is_too_old_is_refused_with_both_versions(tmp_path: Path) -> None:
    folders = installed(tmp_path, "13.9", "15.3")
    with pytest.raises(ToolMissing) as caught:
        client_programs.find("pg_dump", 17, "17.2", folders=folders)
    assert caught.value.message == (
        f"cannot use '{tmp_path}/15.3/pg_dump' for server 17.2: it is version 15.3,"
        " older than the server"
    )
    assert caught.value.hint.endswith("apt install postgresql-client-17")


def test_a_tool_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="cannot run 'pg_dump': it is not installed"):
        client_programs.find("pg_dump", 17, "17.2", folders=[tmp_path])


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
def test_a_script_without_them_stays_unchanged(script: bytes) -> None:
    assert b"".join(without_words(iter([script]))) == script


def test_a_key_of_psqls_restriction_is_never_reused() -> None:
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


SCRIPT = b"""\
SET a = 1;
--
-- Name: orders; Type: TABLE; Schema: public; Owner: x
--

CREATE TABLE public.orders (
    id int
);
--
-- Name: public; Type: SCHEMA; Schema: -; Owner: x
--
SELECT 1;
"""


@pytest.mark.parametrize("size", [1, 7, 64, len(SCRIPT)])
@pytest.mark.parametrize(
    ("line", "subject"),
    [
        (1, ""),
        (3, "table 'public.orders'"),
        (8, "table 'public.orders'"),
        (12, "schema 'public'"),
    ],
)
def test_a_line_is_traced_to_its_object_however_the_script_is_cut(
    size: int, line: int, subject: str
) -> None:
    headings = Headings()
    for start in range(0, len(SCRIPT), size):
        headings.feed(SCRIPT[start : start + size])
    assert headings.at(line) == subject
