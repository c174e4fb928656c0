"""Holds long values in memory while they are named: one mapped region, whose blocks serve again.

Allocations of many sizes by several threads kept a third more memory than the values had, and each
new page costs processor time when it is first used.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Sequence
from contextlib import suppress

from holdfast.model.backup import Buffer

BLOCK_BYTES = 1 << 19


class ValueMemory:
    """At most `size_bytes` in blocks, of all workers together; mapped when it is first used."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes - size_bytes % BLOCK_BYTES
        self._lock = threading.Lock()
        self._region: memoryview | None = None
        self._used_bytes = 0
        # The last one given back is the next one taken, so that few pages are ever touched.
        self._free: list[memoryview] = []

    def take(self) -> memoryview | None:
        """A block; None if there is no room."""
        with self._lock:
            if self._free:
                return self._free.pop()
            if self._region is None:
                self._region = _mapped(self._size_bytes)
            begins = self._used_bytes
            if begins == len(self._region):
                return None
            self._used_bytes += BLOCK_BYTES
            return self._region[begins : self._used_bytes]

    def give_back(self, blocks: Sequence[memoryview]) -> None:
        with self._lock:
            self._free += blocks


def _mapped(size_bytes: int) -> memoryview:
    """Empty if the host refuses the memory: values are then read twice."""
    if not size_bytes:
        return memoryview(b"")
    with suppress(OSError):
        # Private: a shared mapping would be a file in memory, which counts as shared memory.
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        return memoryview(mmap.mmap(-1, size_bytes, flags=flags))
    return memoryview(b"")


class HeldValue:
    """The bytes of one value, as long as `memory` has room for all of them."""

    def __init__(self, memory: ValueMemory) -> None:
        self._memory = memory
        self._blocks: list[memoryview] = []
        self._room = memoryview(b"")
        self.is_whole = True

    def add(self, chunk: Buffer) -> None:
        left = memoryview(chunk)
        while left and self.is_whole:
            if not self._room and not self._extend():
                return
            piece = left[: len(self._room)]
            self._room[: len(piece)] = piece
            self._room, left = self._room[len(piece) :], left[len(piece) :]

    def _extend(self) -> bool:
        block = self._memory.take()
        if block is None:
            self.is_whole = False
            self.drop()
            return False
        self._blocks.append(block)
        self._room = block
        return True

    def chunks(self) -> Sequence[Buffer]:
        """The value in pieces, each valid until `drop`."""
        if not self._blocks:
            return ()
        *full, last = self._blocks
        return *full, last[: len(last) - len(self._room)]

    def drop(self) -> None:
        self._memory.give_back(self._blocks)
        self._blocks, self._room = [], memoryview(b"")
