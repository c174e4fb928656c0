"""Restores long values into a database: large objects, and long bytea values in rows."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import field

import psycopg

from holdfast.model.backup import Part, PartKind
from holdfast.model.errors import RestoreFailed, VerifyFailed
from holdfast.model.fingerprints import of_sha256
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.restore import FailedObject, OpenBlob
from holdfast.sources.packing import StreamCutter
from holdfast.sources.postgres.restore.selection import RestoreContext
from holdfast.sources.postgres.restore.session_pool import SessionPool
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.table_part import External

# Adjacent pages are written in one call: a call costs far more than a page.
PUT_BYTES = 1 << 20
# A row holds a page of 2 KiB or a piece of 1 MiB.
MOST_ROW_BYTES = 16 << 20
MOST_LINE_BYTES = 4096
# The file header of a binary COPY, and its end (COPY, "Binary Format").
SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_FLAGS = struct.Struct("!ii")
_FIELDS = struct.Struct("!h")
# Three fields, each after its length: oid, offset, and the length of the bytes.
_ROW = struct.Struct("!iIiqi")
END = -1
_INDEXED = re.compile(rb"(?P<oid>[0-9]{1,10}) (?P<name>(?:blake3:)?[0-9a-f]{64}) [0-9]{1,19}")

SHA256_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeObjects:
    """Loads the content of large objects, which already exist, in parallel."""

    context: RestoreContext

    def load(self, parts: Iterable[Part], login: Login) -> None:
        """Biggest first."""
        biggest = sorted(parts, key=lambda part: part.plain_bytes, reverse=True)
        SessionPool(login, self._put).run(biggest, workers=self.context.request.workers)

    def _put(self, session: psycopg.Connection, part: Part) -> None:
        try:
            with self.context.stored.proven(part) as proven, session.transaction():
                if part.kind is PartKind.BLOBS:
                    if self.context.request.open_blob is None:
                        raise RestoreFailed(
                            "cannot restore large objects: internal error: no blob reader was"
                            " supplied"
                        )
                    put_blobs(session, proven, self.context.request.open_blob)
                else:
                    found = put_rows(session, proven)
                    if found != part.rows:
                        raise RestoreFailed(
                            f"cannot restore '{part.name}': {part.rows} pages were stored,"
                            f" {found} arrived"
                        )
        except (psycopg.Error, RestoreFailed, VerifyFailed, EOFError) as error:
            self._met(session, part, error)
        self.context.progress.part_done(part.name)

    def _met(self, session: psycopg.Connection, part: Part, error: Exception) -> None:
        ours = failures.restoring_rows(f"'{part.name}'", error)
        if isinstance(error, psycopg.Error) and failures.ends_all(error, session):
            raise ours from error
        ours.__cause__ = error
        failed = FailedObject(
            kind="large objects", name=part.name, statement="", cause=ours.message
        )
        self.context.failed.met(failed, ours)


@dataclass
class _Run:
    """Adjacent bytes of one object."""

    oid: int = 0
    start: int = 0
    pieces: list[memoryview] = field(default_factory=list)
    size_bytes: int = 0

    def follows(self, oid: int, start: int) -> bool:
        return oid == self.oid and start == self.start + self.size_bytes

    def add(self, data: memoryview) -> None:
        self.pieces.append(data)
        self.size_bytes += len(data)


def put_rows(session: psycopg.Connection, chunks: Iterable[bytes]) -> int:
    """Write the rows of one binary COPY, and return how many there were."""
    count, run = 0, _Run()
    for oid, start, data in _rows(chunks):
        count += 1
        if not run.follows(oid, start) or run.size_bytes >= PUT_BYTES:
            _put(session, run)
            run = _Run(oid=oid, start=start)
        run.add(data)
    _put(session, run)
    return count


def put_blobs(session: psycopg.Connection, lines: Iterable[bytes], open_blob: OpenBlob) -> int:
    """Write the objects that an index of blobs lists, and return how many there were."""
    count = 0
    for line in _lines(lines):
        named = _INDEXED.fullmatch(line)
        if named is None:
            raise VerifyFailed(
                f"cannot trust an index of large objects: invalid line '{line[:80]!r}'"
            )
        name = named["name"].decode()
        with open_blob(name if ":" in name else of_sha256(name)) as pieces:
            start = 0
            for piece in pieces:
                _lo_put(session, int(named["oid"]), start=start, data=piece)
                start += len(piece)
        count += 1
    return count


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Each line once complete; an overlong line, which no backup holds, is yielded cut."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > MOST_LINE_BYTES:
            break
    if rest:
        yield rest


def _rows(chunks: Iterable[bytes]) -> Iterator[tuple[int, int, memoryview]]:
    stream = StreamCutter(chunks)
    if bytes(stream.exactly(len(SIGNATURE))) != SIGNATURE:
        raise VerifyFailed("cannot trust a part of large objects: it is not a binary COPY")
    _, extension = _FLAGS.unpack(stream.exactly(_FLAGS.size))
    stream.exactly(_sane(extension))
    while _FIELDS.unpack(stream.exactly(_FIELDS.size))[0] != END:
        _, oid, _, start, size_bytes = _ROW.unpack(stream.exactly(_ROW.size))
        yield oid, start, stream.exactly(_sane(size_bytes))
    stream.drain()


def _sane(size_bytes: int) -> int:
    """Check a length from the stream: that many bytes are held in memory."""
    if not 0 <= size_bytes <= MOST_ROW_BYTES:
        raise VerifyFailed(
            f"cannot trust a part of large objects: it says that a row has {size_bytes} bytes"
        )
    return size_bytes


def _put(session: psycopg.Connection, run: _Run) -> None:
    if run.pieces:
        _lo_put(session, run.oid, start=run.start, data=b"".join(run.pieces))


def _lo_put(session: psycopg.Connection, oid: int, *, start: int, data: bytes) -> None:
    session.execute("SELECT lo_put(%s::oid, %s::bigint, %b)", [oid, start, data])


def with_values(
    chunks: Iterable[bytes], external: External, open_blob: OpenBlob
) -> Iterator[bytes]:
    """`chunks` of a COPY in text format, with each marker replaced by the value of its blob.

    Values are streamed in pieces. The end of a chunk may cut a marker, so a marker's length less
    one byte is held back.
    """
    prefix = external.marker.hex().encode()
    marked = re.compile(prefix + b"([0-9a-f]{%d})" % (2 * SHA256_BYTES))
    longest = len(prefix) + 2 * SHA256_BYTES
    held = b""
    for chunk in chunks:
        text = held + bytes(chunk)
        done = 0
        for match in marked.finditer(text):
            yield text[done : match.start()]
            yield from _value(match[1].decode(), open_blob)
            done = match.end()
        keep = max(done, len(text) - longest + 1)
        yield text[done:keep]
        held = text[keep:]
    yield held


def _value(sha256: str, open_blob: OpenBlob) -> Iterator[bytes]:
    with open_blob(of_sha256(sha256)) as pieces:
        for piece in pieces:
            yield piece.hex().encode()
