"""Reads a tar as a stream, a member at a time, with little of Python for each.

What `packing` writes is read here: plain headers of files and folders. From the first other header
on (a long name, a type that a backup never packs), `tarfile` reads the rest.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Iterator
from itertools import chain
from typing import IO, NamedTuple

from holdfast.model.backup import Buffer
from holdfast.sources.postgres.files.packing import padding_bytes

CHUNK_BYTES = 1 << 20
_FILE, _FOLDER = ord(tarfile.REGTYPE), ord(tarfile.DIRTYPE)
_TYPE, _MAGIC, _PREFIX = 156, slice(257, 265), 345
_NAME, _MODE, _SIZE, _SUM = slice(100), slice(100, 107), slice(124, 135), slice(148, 154)
_ADLER_SUM, _ADLER_START = 0xFFFF, 1
_SPACES = 8 * ord(" ")


class Member(NamedTuple):
    """A file or folder in a tar; its content is read before the next member is."""

    name: str
    mode: int
    is_folder: bool
    content: Iterator[Buffer]


def members(chunks: Iterator[bytes]) -> Iterator[Member]:
    """Yields the members of a tar; raises `tarfile.TarError` for one that is damaged.

    Also raises it for a member that is neither file nor folder: one here may lead anywhere.
    """
    window = _Window(chunks)
    while any(head := window.exactly(tarfile.BLOCKSIZE)):
        found = _plain(head)
        if found is None:
            yield from _by_tarfile(chain([head], window.rest()))
            return
        name, mode, size_bytes, is_folder = found
        content = window.up_to(size_bytes)
        yield Member(name, mode, is_folder, content)
        for _ in content:
            pass
        window.exactly(padding_bytes(size_bytes))
    for _ in window.rest():
        pass


def _plain(head: bytes) -> tuple[str, int, int, bool] | None:
    """Name, mode, size, and whether it is a folder; None for a header that `tarfile` reads."""
    kind = head[_TYPE]
    if kind not in (_FILE, _FOLDER) or head[_MAGIC] != b"ustar\x0000" or head[_PREFIX]:
        return None
    try:
        mode, size_bytes, told = int(head[_MODE], 8), int(head[_SIZE], 8), int(head[_SUM], 8)
        name = head[_NAME].partition(b"\0")[0].decode("ascii")
    except ValueError:
        return None
    # The sum of the bytes, of which those of the sum itself count as spaces; `sum` is slow.
    counted = zlib.adler32(head[:148] + head[156:])
    if (counted & _ADLER_SUM) - _ADLER_START + _SPACES != told:
        return None
    # tar ends the name of a folder with a slash.
    is_folder = kind == _FOLDER
    return name.rstrip("/") if is_folder else name, mode, size_bytes, is_folder


class _Window:
    """The part of a stream that was read and not used yet."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._view = memoryview(b"")

    def exactly(self, size_bytes: int) -> bytes:
        """The next bytes; raises `tarfile.ReadError` where the stream ends before."""
        if len(self._view) >= size_bytes:
            head, self._view = self._view[:size_bytes], self._view[size_bytes:]
            return bytes(head)
        return b"".join(self.up_to(size_bytes))

    def up_to(self, size_bytes: int) -> Iterator[Buffer]:
        """The next `size_bytes`, in the pieces in which they come."""
        while size_bytes:
            if not self._view:
                self._view = memoryview(next(self._chunks, b""))
                if not self._view:
                    raise tarfile.ReadError("unexpected end of data")
            head, self._view = self._view[:size_bytes], self._view[size_bytes:]
            size_bytes -= len(head)
            yield head

    def rest(self) -> Iterator[bytes]:
        yield bytes(self._view)
        self._view = memoryview(b"")
        yield from self._chunks


def _by_tarfile(chunks: Iterator[bytes]) -> Iterator[Member]:
    with tarfile.open(fileobj=_Stream(chunks), mode="r|", bufsize=CHUNK_BYTES) as pack:
        for member in pack:
            content = pack.extractfile(member) if member.isreg() else None
            if content is None and not member.isdir():
                raise tarfile.TarError(f"'{member.name}' is neither file nor folder")
            yield Member(member.name, member.mode, member.isdir(), _pieces_of(content))


def _pieces_of(content: IO[bytes] | None) -> Iterator[Buffer]:
    while content is not None and (piece := content.read(CHUNK_BYTES)):
        yield piece


class _Stream(io.RawIOBase):
    """Chunks as a file object, for `tarfile` to read as a stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = memoryview(chunk)
        head, self._rest = self._rest[:size], self._rest[size:]
        return bytes(head)
