"""Extracts small files from an xbstream as it passes; an xbstream is a sequence of file chunks.

A chunk is `XBSTCK01`, a byte of flags, a byte for its type, the length of a path and the path.
A data chunk continues with length, offset and checksum of its data (little-endian) and the data.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from holdfast.model.backup import Buffer
from holdfast.model.lazy_dataclass import dataclass

MAGIC = b"XBSTCK01"
PAYLOAD = b"P"
END_OF_FILE = b"E"
_HEAD = struct.Struct("<8sccI")
_DATA = struct.Struct("<QQI")
# A larger file is none of the small files that we look for.
MOST_BYTES = 1 << 20
MOST_PATH_BYTES = 4096


class NotUnderstood(Exception):
    """The stream is not an xbstream in the format described above, or has a refused path."""


@dataclass(slots=True)
class _Chunk:
    """The chunk whose data is passing; `left` counts its remaining bytes."""

    path: str
    left: int


class Catcher:
    """Keeps the first `MOST_BYTES` of every file that `wanted` accepts; feed it the whole stream.

    `seen` is called with each path before the bytes that follow it are processed, and may raise.
    """

    def __init__(
        self, wanted: Callable[[str], bool], *, seen: Callable[[bytes], object] = lambda _: None
    ) -> None:
        self.files: dict[str, bytes] = {}
        self._wanted = wanted
        self._seen = seen
        self._head = b""
        self._chunk: _Chunk | None = None

    def feed(self, buffer: Buffer) -> None:
        """Process the next bytes of the stream; raises `NotUnderstood`."""
        left = memoryview(buffer)
        while left:
            left = self._begun(left) if self._chunk is None else self._passed(self._chunk, left)

    @property
    def whole(self) -> bool:
        """Whether the stream is between two chunks, so that no chunk is truncated."""
        return self._chunk is None and not self._head

    def _begun(self, left: memoryview) -> memoryview:
        """Take what a chunk's head still lacks; returns the rest: its data or the next chunk."""
        needed = _head_bytes(self._head) - len(self._head)
        self._head += bytes(left[:needed])
        left = left[needed:]
        if len(self._head) == _head_bytes(self._head):
            self._seen(_path(self._head))
            self._chunk = _chunk(self._head)
            self._head = b""
        return left

    def _passed(self, chunk: _Chunk, left: memoryview) -> memoryview:
        piece = left[: chunk.left]
        if self._wanted(chunk.path):
            kept = self.files.get(chunk.path, b"")
            self.files[chunk.path] = (kept + bytes(piece))[:MOST_BYTES]
        chunk.left -= len(piece)
        if not chunk.left:
            self._chunk = None
        return left[len(piece) :]


def _head_bytes(known: bytes) -> int:
    """The length of a chunk's head, as far as its known bytes tell."""
    if len(known) < _HEAD.size:
        return _HEAD.size
    kind: bytes
    path_bytes: int
    magic, _, kind, path_bytes = _HEAD.unpack_from(known)
    if magic != MAGIC or kind not in (PAYLOAD, END_OF_FILE) or path_bytes > MOST_PATH_BYTES:
        raise NotUnderstood(f"a chunk begins with {known[: _HEAD.size]!r}")
    return _HEAD.size + path_bytes + (_DATA.size if kind == PAYLOAD else 0)


def _chunk(head: bytes) -> _Chunk | None:
    """The chunk whose data follows a complete head; None where there is no data."""
    _, _, kind, path_bytes = _HEAD.unpack_from(head)
    if kind == END_OF_FILE:
        return None
    path = _path(head).decode(errors="replace")
    size_bytes, _, _ = _DATA.unpack_from(head, _HEAD.size + path_bytes)
    return _Chunk(path=path, left=size_bytes) if size_bytes else None


def _path(head: bytes) -> bytes:
    _, _, _, path_bytes = _HEAD.unpack_from(head)
    return head[_HEAD.size : _HEAD.size + path_bytes]


def kept_beneath(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same stream, as long as each of its files stays in the folder that it is unpacked into.

    `mbstream` follows any path. Raises `NotUnderstood` before it receives one that leads out.
    """
    catcher = Catcher(lambda _: False, seen=_require_beneath)
    for chunk in chunks:
        catcher.feed(chunk)
        yield chunk


def _require_beneath(path: bytes) -> None:
    segments = path.split(b"/")
    # `mbstream` ends a path at its first zero byte, and takes a tilde for a home folder.
    if b"\0" in path or path.startswith(b"~") or {b"", b".", b".."} & {*segments}:
        raise NotUnderstood(f"a file of it would be {path!r}, which leads out of the folder")
