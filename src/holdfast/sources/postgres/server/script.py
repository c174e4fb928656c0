"""Feeding SQL text to psql, and saying which object it stopped at."""

from __future__ import annotations

import re
from collections.abc import Iterator

from holdfast.model.backup import Buffer
from holdfast.model.errors import RestoreFailed
from holdfast.model.proven import Proven
from holdfast.runtime.process import ChildFailed, running
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.restricted_psql import restricted
from holdfast.sources.postgres.server.tools import Tool

# pg_dump announces each object in a comment before its statements.
_HEADING = re.compile(rb"^-- (?:Data for )?Name: (.*?); Type: (.*?); Schema: (.*?); Owner:", re.M)
LONGEST_HEADING_BYTES = 1 << 16
_STOPPED_AT = re.compile(r"<stdin>:(\d+): (?:ERROR|FATAL):\s+([^|]*)")
_ANY_ERROR = re.compile(r"(?:ERROR|FATAL|error):\s+([^|]*)")


class Headings:
    """Which object each line belongs to; grows with the number of objects, not with the data."""

    def __init__(self) -> None:
        self._starts: list[tuple[int, str]] = []
        self._lines = 0
        self._rest = b""

    def feed(self, chunk: Buffer) -> None:
        # Whole lines only: a heading may be cut by the end of a chunk.
        head, newline, rest = (self._rest + bytes(chunk)).rpartition(b"\n")
        # A value of a GiB is one line; only its beginning could be a heading.
        self._rest = rest[:LONGEST_HEADING_BYTES]
        if not newline:
            return
        counted, line = 0, self._lines + 1
        for match in _HEADING.finditer(head):
            line += head.count(b"\n", counted, match.start())
            counted = match.start()
            self._starts.append((line, _object(match)))
        self._lines += head.count(b"\n") + 1

    def watched(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """`chunks` on their way to psql."""
        for chunk in chunks:
            self.feed(chunk)
            yield chunk

    def at(self, line: int) -> str:
        """The object that `line` belongs to, or nothing."""
        before = [name for start, name in self._starts if start <= line]
        return before[-1] if before else ""


def _object(match: re.Match[bytes]) -> str:
    name, kind, schema = (part.decode(errors="replace") for part in match.groups())
    where = "" if schema == "-" else f"{schema}."
    return f"{kind.lower()} '{where}{name}'"


def run(psql: Tool, login: Login, script: Proven, *, rehearse: bool = False) -> None:
    """Run a script up to its first error; raises `RestoreFailed` naming the object.

    With `rehearse` it only tells whether it would work. No command of psql's own is carried out.
    """
    headings = Headings()

    def sent(chunks: Iterator[bytes]) -> Iterator[bytes]:
        text = restricted(chunks, psql)
        return headings.watched(_taken_back(text) if rehearse else text)

    argv = [
        str(psql.path),
        "--no-psqlrc",
        "--quiet",
        "--no-password",
        "--set=ON_ERROR_STOP=1",
        # Without it psql does not tell the line of an error in what it reads from a pipe.
        "--file=-",
        f"--dbname={login.steady_conninfo()}",
    ]
    try:
        with running(argv, env=login.environment(), stdin=True, stdout=False) as child:
            child.feed(script.derived(sent))
            child.finish()
    except ChildFailed as error:
        raise _failure(error, headings, login) from error


def _taken_back(chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield b"BEGIN;\n"
    yield from chunks
    yield b"ROLLBACK;\n"


def _failure(error: ChildFailed, headings: Headings, login: Login) -> RestoreFailed:
    stopped = _STOPPED_AT.search(error.stderr)
    if stopped:
        subject = headings.at(int(stopped[1])) or f"database '{login.database}'"
        return failures.restoring(stopped[2], subject)
    said = _ANY_ERROR.search(error.stderr)
    return failures.restoring(said[1] if said else error.message, f"database '{login.database}'")
