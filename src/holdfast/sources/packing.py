"""Parts of several small tables: which tables share one, and how its stream is taken apart again.

A part and an object for each is what makes many tables slow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import TypeVar

# A table below this is over before a part of its own would have paid for itself.
SMALL_TABLE_BYTES = 1 << 20
PACK_BYTES = 16 << 20
TABLES_IN_PACK = 500
Table = TypeVar("Table")


def packs(tables: Iterable[Table], *, size_of: Callable[[Table], int]) -> Iterator[list[Table]]:
    """`tables` in their order, as many at a time as one part holds; `size_of` is in bytes."""
    pack: list[Table] = []
    size_bytes = 0
    for table in tables:
        if pack and (size_bytes + size_of(table) > PACK_BYTES or len(pack) == TABLES_IN_PACK):
            yield pack
            pack, size_bytes = [], 0
        pack.append(table)
        size_bytes += size_of(table)
    if pack:
        yield pack


def known_by(names: Sequence[str]) -> str:
    """What a resumed run sees by that other tables share a pack by now."""
    return sha256("\0".join(names).encode()).hexdigest()


class StreamCutter:
    """Takes a stream apart from front to back; `chunks` is read only as far as it is asked for."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self.position = 0

    def skip_to(self, offset: int) -> None:
        for _ in self.take(offset - self.position):
            pass

    def take(self, size_bytes: int) -> Iterator[memoryview]:
        """The next `size_bytes` as they come; raises `EOFError` where there are fewer, or where
        they would lie before what has been read."""
        if size_bytes < 0:
            raise EOFError(f"{-size_bytes} bytes before {self.position} are read already")
        left = size_bytes
        while left:
            piece = self._next(left)
            left -= len(piece)
            self.position += len(piece)
            yield piece

    def exactly(self, size_bytes: int) -> memoryview:
        """The next `size_bytes` in one piece."""
        if 0 <= size_bytes <= len(self._rest):
            piece, self._rest = self._rest[:size_bytes], self._rest[size_bytes:]
            self.position += size_bytes
            return piece
        return memoryview(b"".join(self.take(size_bytes)))

    def drain(self) -> None:
        """Read what is left: a stream is only proven once its end has been seen."""
        self._rest = memoryview(b"")
        for chunk in self._chunks:
            self.position += len(chunk)

    def _next(self, most: int) -> memoryview:
        if not self._rest:
            chunk = next(self._chunks, b"")
            if not chunk:
                raise EOFError(f"the stream ends after {self.position} bytes")
            self._rest = memoryview(chunk)
        piece, self._rest = self._rest[:most], self._rest[most:]
        return piece
