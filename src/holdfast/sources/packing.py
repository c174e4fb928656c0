"""Packs of small tables: which tables share one, and how its stream is split again.

With one part and one object per table, a database of many small tables is slow to back up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import TypeVar

from holdfast.model.backup import Buffer

# For a smaller table, the cost of a part of its own exceeds the time to read it.
SMALL_TABLE_BYTES = 1 << 20
PACK_BYTES = 16 << 20
TABLES_IN_PACK = 500
# Packs come last: several of them keep all workers busy until the end.
FEWEST_PACKS = 8
# Fewer tables or bytes are not worth another part.
FEW_TABLES = 25
FEW_BYTES = 1 << 20
Table = TypeVar("Table")


def packs(tables: Sequence[Table], *, size_of: Callable[[Table], int]) -> Iterator[list[Table]]:
    """Group `tables`, in their order, into packs that each fill one part; `size_of` is in bytes.

    No pack has much more than its share of all tables, so that workers end together. The number of
    workers has no influence: a resumed run finds the same packs.
    """
    most_tables = min(TABLES_IN_PACK, max(FEW_TABLES, -(-len(tables) // FEWEST_PACKS)))
    share_bytes = sum(map(size_of, tables)) // FEWEST_PACKS
    most_bytes = min(PACK_BYTES, max(FEW_BYTES, share_bytes))
    pack: list[Table] = []
    size_bytes = 0
    for table in tables:
        if pack and (size_bytes + size_of(table) > most_bytes or len(pack) == most_tables):
            yield pack
            pack, size_bytes = [], 0
        pack.append(table)
        size_bytes += size_of(table)
    if pack:
        yield pack


def known_by(names: Sequence[str]) -> str:
    """The SHA-256 of a pack's table names: a resumed run sees by it that the pack has changed."""
    return sha256("\0".join(names).encode()).hexdigest()


class StreamCutter:
    """Splits a stream from front to back; reads `chunks` only as far as it is asked for."""

    def __init__(self, chunks: Iterable[Buffer]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self.position = 0

    def skip_to(self, offset: int) -> None:
        for _ in self.take(offset - self.position):
            pass

    def take(self, size_bytes: int) -> Iterator[memoryview]:
        """The next `size_bytes`, chunk by chunk; raises `EOFError` where fewer are left, or where
        `size_bytes` is negative."""
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
        """Read the rest: the fingerprint of a stream is checked only at its end."""
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
