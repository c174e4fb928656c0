"""The programs of the PostgreSQL client package: finds them for a server, and runs psql safely.

psql runs a script with its own commands disabled, so that the script can reach only the server.
pg_dump begins its output with `\\restrict WORD` and ends it with `\\unrestrict WORD`. The author
of a script knows its WORD and could end the restriction, so a new random word replaces it.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from holdfast.model.backup import Buffer
from holdfast.model.errors import RestoreFailed, ToolMissing
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.lazy_pattern import regex
from holdfast.model.restore import Proven
from holdfast.runtime import events
from holdfast.runtime.process import ChildFailed, output_of, running
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.login import Login

DEBIAN_BINARIES = Path("/usr/lib/postgresql")
_VERSION = regex(r"\(PostgreSQL\) (\d+)(\S*)")

# The first minor release of each version that knows `\restrict`; 18 and later always do.
_KNOWN_SINCE = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}
# Only before and after all statements: elsewhere such a line may be text of a function.
_NO_STATEMENT = rb"((?:\s|--[^\n]*\n)*)"
_FIRST = regex(rb"\A" + _NO_STATEMENT + rb"(?<![^\n])\\restrict \w+(?=\n)")
_LAST = regex(rb"(?<=\n)\\unrestrict \w+" + _NO_STATEMENT + rb"\Z")
_HEAD_BYTES = _TAIL_BYTES = 4096
# pg_dump announces each object in a comment before its statements.
_HEADING = regex(rb"^-- (?:Data for )?Name: (.*?); Type: (.*?); Schema: (.*?); Owner:", re.M)
LONGEST_HEADING_BYTES = 1 << 16
_STOPPED_AT = regex(r"<stdin>:(\d+): (?:ERROR|FATAL):\s+([^|]*)")
_ANY_ERROR = regex(r"(?:ERROR|FATAL|error):\s+([^|]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program of the PostgreSQL client package."""

    path: Path
    version: str
    major: int


def find(
    name: str, server_major: int, server_version: str, *, folders: Sequence[Path] = ()
) -> Tool:
    """Find the program of the server's major version, else the oldest newer one.

    Raises `ToolMissing` with both versions. Without `folders`, Debian's versioned folders come
    before PATH, because Debian's /usr/bin/pg_dump is a slow wrapper that picks a cluster itself.
    """
    found: list[Tool] = []
    for candidates in _candidates(name, folders):
        found += [_asked(path) for path in candidates]
        fitting = sorted((tool for tool in found if tool.major >= server_major), key=_age)
        if fitting:
            return fitting[0]
    hint = f"install the client package, on Debian: apt install postgresql-client-{server_major}"
    if not found:
        raise ToolMissing(f"cannot run '{name}': it is not installed", hint=hint)
    newest = max(found, key=_age)
    raise ToolMissing(
        f"cannot use '{newest.path}' for server {server_version}: it is version {newest.version},"
        " older than the server",
        hint=hint,
    )


def _age(tool: Tool) -> int:
    return tool.major


def _candidates(name: str, folders: Sequence[Path]) -> Iterator[list[Path]]:
    """Paths of the program in order of preference; a later list is used if earlier ones fail."""
    if folders:
        yield [folder / name for folder in folders if (folder / name).is_file()]
        return
    yield list(DEBIAN_BINARIES.glob(f"*/bin/{name}"))
    on_path = shutil.which(name)
    if on_path is not None:
        yield [Path(on_path)]


def _asked(path: Path) -> Tool:
    said = output_of([str(path), "--version"])
    match = _VERSION.search(said)
    if match is None:
        raise ToolMissing(f"cannot use '{path}': it does not report its version")
    return Tool(path=path, version=match[1] + match[2], major=int(match[1]))


def run_psql(psql: Tool, login: Login, script: Proven, *, rehearse: bool = False) -> None:
    """Run a script up to its first error; raises `RestoreFailed` with the object.

    With `rehearse` the script runs in a transaction that is rolled back. psql's own commands are
    disabled if this release of psql can do that.
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
        # Without this option psql reports no line numbers for errors in its standard input.
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


class Headings:
    """Maps lines to objects; its memory grows with the number of objects, not with the data."""

    def __init__(self) -> None:
        self._starts: list[tuple[int, str]] = []
        self._lines = 0
        self._rest = b""

    def feed(self, chunk: Buffer) -> None:
        # Whole lines only: the end of a chunk may cut a heading.
        head, newline, rest = (self._rest + bytes(chunk)).rpartition(b"\n")
        # A value of 1 GiB is one line; only its beginning could be a heading.
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
        """Pass `chunks` on, and record their headings."""
        for chunk in chunks:
            self.feed(chunk)
            yield chunk

    def at(self, line: int) -> str:
        """The object that `line` belongs to; empty if there is none."""
        before = [name for start, name in self._starts if start <= line]
        return before[-1] if before else ""


def _object(match: re.Match[bytes]) -> str:
    name, kind, schema = (part.decode(errors="replace") for part in match.groups())
    where = "" if schema == "-" else f"{schema}."
    return f"{kind.lower()} '{where}{name}'"


def restricted(chunks: Iterator[bytes], psql: Tool) -> Iterator[bytes]:
    """`chunks`, restricted by a word that the author of the script cannot know.

    An older psql gets no such command, and a warning is logged. Searching the text for psql's
    commands would not protect the host: they may occur anywhere in a line. Which text is quoted
    depends on a setting that the script may change. With such a psql only the proof of the stored
    bytes protects the host.
    """
    if is_known_to(psql):
        yield f"\\restrict {secrets.token_hex(32)}\n".encode()
    else:
        events.warning("psql_unrestricted", path=str(psql.path), version=psql.version)
    yield from without_words(chunks)


def without_words(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """`chunks` with the two lines of pg_dump emptied, so that line numbers stay the same."""
    held = b""
    for chunk in chunks:
        held += chunk
        if len(held) >= _HEAD_BYTES:
            break
    held = _FIRST.sub(rb"\1", held)
    for chunk in chunks:
        held += chunk
        yield held[:-_TAIL_BYTES]
        held = held[-_TAIL_BYTES:]
    yield _LAST.sub(rb"\1", held)


def is_known_to(psql: Tool) -> bool:
    """Whether this release of psql can disable its own commands."""
    minor = re.match(r"\d+\.(\d+)", psql.version)
    since = _KNOWN_SINCE.get(psql.major)
    if since is None:
        return psql.major > max(_KNOWN_SINCE)
    return minor is not None and int(minor[1]) >= since
