"""Standard .zst, .gz and .xz streams, so that stock tools can read what we store."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterable

import zstandard

from holdfast.model.backup import Buffer, Codec
from holdfast.pipeline.flow import Stage

# zlib: 15 bits of window, plus 16 for a gzip header and trailer.
GZIP_WINDOW_BITS = 15 + 16
# By level, from the manual of xz: what its compressor holds.
XZ_MIB = (3, 9, 17, 32, 48, 94, 94, 186, 370, 674)


class CompressZstd:
    """One zstd frame with a checksum of the content; `threads` beside the caller's, or none."""

    def __init__(self, level: int, *, threads: int = 0) -> None:
        compressor = zstandard.ZstdCompressor(level=level, write_checksum=True, threads=threads)
        self._stream = compressor.compressobj()

    def feed(self, chunk: Buffer) -> Iterable[Buffer]:
        return _full(self._stream.compress(chunk))

    def finish(self) -> Iterable[Buffer]:
        return _full(self._stream.flush())


class CompressGzip:
    """One gzip member."""

    def __init__(self, level: int) -> None:
        self._stream = zlib.compressobj(level, zlib.DEFLATED, GZIP_WINDOW_BITS)

    def feed(self, chunk: Buffer) -> Iterable[Buffer]:
        return _full(self._stream.compress(chunk))

    def finish(self) -> Iterable[Buffer]:
        return _full(self._stream.flush())


class CompressXz:
    """One xz stream."""

    def __init__(self, level: int) -> None:
        self._stream = lzma.LZMACompressor(preset=level)

    def feed(self, chunk: Buffer) -> Iterable[Buffer]:
        return _full(self._stream.compress(chunk))

    def finish(self) -> Iterable[Buffer]:
        return _full(self._stream.flush())


class Pass:
    """Changes nothing: the codec `none`."""

    def feed(self, chunk: Buffer) -> Iterable[Buffer]:
        return (chunk,)

    def finish(self) -> Iterable[Buffer]:
        return ()


COMPRESSORS: dict[Codec, Callable[[int], Stage]] = {
    Codec.ZSTD: CompressZstd,
    Codec.GZIP: CompressGzip,
    Codec.XZ: CompressXz,
    Codec.NONE: lambda _level: Pass(),
}


def context_bytes(codec: Codec, level: int) -> int:
    """The memory that one stream of this codec needs.

    zstd tells it itself; deflate needs (1 << 17) + (1 << 18) bytes at its defaults (zconf.h).
    """
    if codec is Codec.ZSTD:
        parameters = zstandard.ZstdCompressionParameters.from_level(level)
        return parameters.estimated_compression_context_size()
    if codec is Codec.XZ:
        return XZ_MIB[level] << 20
    return (1 << 17) + (1 << 18) if codec is Codec.GZIP else 0


def compressor(codec: Codec, level: int, *, threads: int = 0) -> Stage:
    """The stage for `codec`; `threads` are used where the codec knows how to."""
    if codec is Codec.ZSTD:
        return CompressZstd(level, threads=threads)
    return COMPRESSORS[codec](level)


def _full(chunk: bytes) -> Iterable[Buffer]:
    return (chunk,) if chunk else ()
