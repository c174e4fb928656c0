"""Where the frames of a zstd stream begin and end (RFC 8878): told by their headers alone.

The decompressor at hand gives what a frame holds up to where it was cut, and no error.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

from holdfast.model.backup import Buffer
from holdfast.pipeline.flow import CorruptStream

MAGIC = 0xFD2FB528
SKIPPABLE, SKIPPABLE_MASK = 0x184D2A50, 0xFFFFFFF0
_START_BYTES = 5
_BLOCK_HEAD_BYTES = 3
_CHECKSUM_BYTES = 4
_RLE, _RESERVED = 1, 3


class ZstdFrames:
    """Observes; raises `CorruptStream` where a frame does not begin, or does not end."""

    def __init__(self) -> None:
        self._walk = _frames()
        self._wanted = next(self._walk)
        self._head = b""
        self._passed = 0

    def feed(self, chunk: Buffer) -> Iterable[Buffer]:
        left = memoryview(chunk)
        while left:
            left = self._skip(left) if self._wanted < 0 else self._read(left)
        return (chunk,)

    def finish(self) -> Iterable[Buffer]:
        if self._wanted != _START_BYTES or self._head or not self._passed:
            raise CorruptStream("the zstd frame ends too early")
        return ()

    def _skip(self, left: memoryview) -> memoryview:
        size_bytes = min(-self._wanted, len(left))
        self._wanted += size_bytes
        self._passed += size_bytes
        if not self._wanted:
            self._wanted = self._walk.send(b"")
        return left[size_bytes:]

    def _read(self, left: memoryview) -> memoryview:
        piece = left[: self._wanted - len(self._head)]
        self._head += bytes(piece)
        if len(self._head) == self._wanted:
            head, self._head = self._head, b""
            self._passed += len(head)
            self._wanted = self._walk.send(head)
        return left[len(piece) :]


def _frames() -> Generator[int, bytes, None]:
    """How many bytes are to be read next, or, below zero, to be passed over; is sent what was read.

    Only where a frame may begin as many as `_START_BYTES` are asked for.
    """
    while True:
        start = yield _START_BYTES
        magic, descriptor = int.from_bytes(start[:4], "little"), start[4]
        if magic & SKIPPABLE_MASK == SKIPPABLE:
            rest = yield 3
            yield from _past(int.from_bytes(start[4:] + rest, "little"))
        elif magic == MAGIC:
            yield from _past(_rest_of_header(descriptor))
            yield from _blocks()
            yield from _past(_CHECKSUM_BYTES if descriptor & 4 else 0)
        else:
            raise CorruptStream("no zstd frame begins where one has to")


def _blocks() -> Generator[int, bytes, None]:
    is_last = False
    while not is_last:
        head = int.from_bytes((yield _BLOCK_HEAD_BYTES), "little")
        is_last, kind, size_bytes = bool(head & 1), head >> 1 & 3, head >> 3
        if kind == _RESERVED:
            raise CorruptStream("a block of the zstd frame is of no known kind")
        yield from _past(1 if kind == _RLE else size_bytes)


def _past(size_bytes: int) -> Generator[int, bytes, None]:
    if size_bytes:
        yield -size_bytes


def _rest_of_header(descriptor: int) -> int:
    """The bytes of window, dictionary and size of content, as the descriptor announces them."""
    is_single = bool(descriptor & 0x20)
    dictionary = (0, 1, 2, 4)[descriptor & 3]
    content = (1 if is_single else 0, 2, 4, 8)[descriptor >> 6]
    return (0 if is_single else 1) + dictionary + content
