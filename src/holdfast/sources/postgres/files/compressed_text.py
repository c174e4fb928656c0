"""A long text that is made once and read once, kept in a fraction of its size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import zstandard

LEVEL = 1
CHUNK_BYTES = 1 << 20


class Packed:
    """The chunks that it was made of as one text; `size_bytes` is its own size."""

    def __init__(self, chunks: Iterable[bytes] = ()) -> None:
        compressor = zstandard.ZstdCompressor(level=LEVEL).compressobj()
        self._packed = list[bytes]()
        self.size_bytes = 0
        for chunk in chunks:
            self.size_bytes += len(chunk)
            self._keep(compressor.compress(chunk))
        self._keep(compressor.flush())

    def _keep(self, packed: bytes) -> None:
        if packed:
            self._packed.append(packed)

    def __iter__(self) -> Iterator[bytes]:
        unpacker = zstandard.ZstdDecompressor().decompressobj()
        for packed in self._packed:
            whole = memoryview(unpacker.decompress(packed))
            for first in range(0, len(whole), CHUNK_BYTES):
                yield bytes(whole[first : first + CHUNK_BYTES])
