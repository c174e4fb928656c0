"""Standard .zst, .gz and .xz streams back into plain bytes, in chunks of a bounded size.

A megabyte of zeros fits into a few compressed bytes, so the output is bounded, not the input:
a chunk that explodes must not take the memory of the host with it.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator

import zstandard

from holdfast.model.backup import Codec
from holdfast.pipeline.compress import GZIP_WINDOW_BITS
from holdfast.pipeline.flow import CorruptStream, flow
from holdfast.pipeline.zstd_frames import ZstdFrames

CHUNK_BYTES = 1 << 20
# Window of level 19 and below; a stream that wants more was not written by us.
ZSTD_WINDOW_BYTES = 1 << 27


class _Pulled:
    """An iterator of chunks as the file that a stream reader wants."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def read(self, size: int) -> bytes:
        if not self._rest:
            self._rest = next(self._chunks, b"")
        head, self._rest = self._rest[:size], self._rest[size:]
        return head


def _zstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
    frames = (bytes(chunk) for chunk in flow(chunks, [ZstdFrames()]))
    try:
        with decompressor.stream_reader(
            _Pulled(frames),  # type: ignore[arg-type]  # its stub wants IO[bytes]; it only reads
            read_size=CHUNK_BYTES,
            read_across_frames=True,
        ) as reader:
            while chunk := reader.read(CHUNK_BYTES):
                yield chunk
    except zstandard.ZstdError as error:
        raise CorruptStream(str(error)) from error
    # Where the last frame ends is only known once all has been read.
    for _ in frames:
        pass


def _gzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    stream = zlib.decompressobj(GZIP_WINDOW_BITS)
    try:
        for chunk in chunks:
            waiting = chunk
            while waiting:
                _require_more(is_ended=stream.eof)
                if plain := stream.decompress(waiting, CHUNK_BYTES):
                    yield plain
                waiting = stream.unused_data or stream.unconsumed_tail
    except zlib.error as error:
        raise CorruptStream(str(error)) from error
    if not stream.eof:
        raise CorruptStream("the gzip member ends too early")


def _xz(chunks: Iterable[bytes]) -> Iterator[bytes]:
    stream = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    try:
        for chunk in chunks:
            _require_more(is_ended=stream.eof)
            plain = stream.decompress(chunk, CHUNK_BYTES)
            while plain:
                yield plain
                plain = b"" if stream.needs_input else _more(stream)
    except lzma.LZMAError as error:
        raise CorruptStream(str(error)) from error
    if not stream.eof:
        raise CorruptStream("the xz stream ends too early")
    _require_more(is_ended=bool(stream.unused_data))


def _require_more(*, is_ended: bool) -> None:
    """What follows the end was not written by us, and some tools would unpack it."""
    if is_ended:
        raise CorruptStream("something follows the end of the compressed stream")


def _more(stream: lzma.LZMADecompressor) -> bytes:
    return b"" if stream.eof else stream.decompress(b"", CHUNK_BYTES)


DECOMPRESSORS: dict[Codec, Callable[[Iterable[bytes]], Iterator[bytes]]] = {
    Codec.ZSTD: _zstd,
    Codec.GZIP: _gzip,
    Codec.XZ: _xz,
    Codec.NONE: iter,
}


def decompress(chunks: Iterable[bytes], codec: Codec) -> Iterator[bytes]:
    """`chunks` without their compression: all of them, to their last byte.

    Raises `CorruptStream`, also where a frame is cut off in its checksum, or something follows it.
    """
    return DECOMPRESSORS[codec](chunks)
