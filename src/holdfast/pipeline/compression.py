"""Compress to standard .zst, .gz and .xz streams, which stock tools can read, and decompress.

A megabyte of zeros fits into a few compressed bytes, so decompression bounds its output chunks,
not its input: a decompression bomb must not exhaust the memory of the host.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING

from holdfast.model.backup import Buffer, Codec
from holdfast.pipeline.flow import CorruptStream, Stage, flow

if TYPE_CHECKING:
    import lzma

    import zstandard

# zlib: 15 bits of window, plus 16 for a gzip header and trailer.
GZIP_WINDOW_BITS = 15 + 16
# The largest window of levels up to 19; a stream that needs more was not written by holdfast.
ZSTD_WINDOW_BYTES = 1 << 27
CHUNK_BYTES = 1 << 20
# A frame made in one step needs as much memory for its output.
MOST_FRAME_BYTES = 4 << 20
# The compressor's memory for each level 0 to 9, from the manual of xz.
XZ_MIB = (3, 9, 17, 32, 48, 94, 94, 186, 370, 674)


# The level of the quickest look at a sample.
SAMPLE_LEVEL = 1
# A sample that compresses to no less than this ratio is not worth compressing.
SMALLEST_RATIO = 0.97
# A smaller sample says nothing about a value.
LEAST_SAMPLE_BYTES = 64 << 10


def is_incompressible(sample: Buffer) -> bool:
    """Whether zstd at its fastest usual level saves almost nothing of `sample`."""
    import zstandard

    if len(sample) < LEAST_SAMPLE_BYTES:
        return False
    smaller = zstandard.ZstdCompressor(level=SAMPLE_LEVEL).compress(sample)
    return len(smaller) > len(sample) * SMALLEST_RATIO


def zstd_compressor(level: int, *, threads: int = 0) -> zstandard.ZstdCompressor:
    """A compressor whose frames have a checksum.

    Threads share the content in jobs of two windows. By default zstd gives them four, and so keeps
    some 10 MB more in memory at level 1, for an output that is 0.1 % smaller.
    """
    import zstandard

    if not threads:
        return zstandard.ZstdCompressor(level=level, write_checksum=True)
    window_log = zstandard.ZstdCompressionParameters.from_level(level).window_log
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, write_checksum=True, threads=threads, job_size=2 << window_log
    )
    return zstandard.ZstdCompressor(compression_params=parameters)


class CompressZstd:
    """Zstd frames with a checksum of the content; `threads` extra threads compress it.

    As long as chunks have two windows or more, each becomes a frame: zstd reads it where it lies.
    All that follows a shorter chunk is one frame, for which zstd copies what it reads.
    """

    def __init__(self, level: int, *, threads: int = 0) -> None:
        import zstandard

        from holdfast.pipeline.frame_compressor import FrameCompressor

        self._compressor = zstd_compressor(level, threads=threads)
        window_log = zstandard.ZstdCompressionParameters.from_level(level).window_log
        self._least_bytes = MOST_FRAME_BYTES + 1 if threads else 2 << window_log
        self._stream: zstandard.ZstdCompressionObj | None = None
        self._frames = FrameCompressor(level, self._compressor)
        self._has_frames = False

    def feed(self, chunk: Buffer) -> Iterable[Buffer]:
        if self._stream is None and self._least_bytes <= len(chunk) <= MOST_FRAME_BYTES:
            self._has_frames = True
            return (self._frames.frame(chunk),)
        return _full(self._opened().compress(chunk))

    def finish(self) -> Iterable[Buffer]:
        if self._stream is None and self._has_frames:
            return ()
        return _full(self._opened().flush())

    def _opened(self) -> zstandard.ZstdCompressionObj:
        if self._stream is None:
            self._stream = self._compressor.compressobj()
        return self._stream


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
        import lzma  # few use it

        self._stream = lzma.LZMACompressor(preset=level)

    def feed(self, chunk: Buffer) -> Iterable[Buffer]:
        return _full(self._stream.compress(chunk))

    def finish(self) -> Iterable[Buffer]:
        return _full(self._stream.flush())


class Pass:
    """Passes bytes through unaltered: the codec `none`."""

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

    zstd estimates it itself. deflate needs (1 << 17) + (1 << 18) bytes at its defaults (zconf.h).
    """
    import zstandard

    if codec is Codec.ZSTD:
        parameters = zstandard.ZstdCompressionParameters.from_level(level)
        # At level 1 a second one, with a small table, may be kept beside it.
        return parameters.estimated_compression_context_size() * (2 if level == 1 else 1)
    if codec is Codec.XZ:
        return XZ_MIB[level] << 20
    return (1 << 17) + (1 << 18) if codec is Codec.GZIP else 0


def compressor(codec: Codec, level: int, *, threads: int = 0) -> Stage:
    """The stage for `codec`; only zstd uses `threads`."""
    if codec is Codec.ZSTD:
        return CompressZstd(level, threads=threads)
    return COMPRESSORS[codec](level)


def _full(chunk: bytes) -> Iterable[Buffer]:
    return (chunk,) if chunk else ()


class _Pulled:
    """A file-like object over an iterator of chunks, for a stream reader."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def read(self, size: int) -> bytes:
        if not self._rest:
            self._rest = next(self._chunks, b"")
        head, self._rest = self._rest[:size], self._rest[size:]
        return head


def _zstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    import zstandard

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
    # Read to the end: only then does `ZstdFrames` know whether the last frame is complete.
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
    import lzma  # few use it

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
    """Raises `CorruptStream` for bytes after the end: some tools would decompress them, too."""
    if is_ended:
        raise CorruptStream("more bytes follow the end of the compressed stream")


def _more(stream: lzma.LZMADecompressor) -> bytes:
    return b"" if stream.eof else stream.decompress(b"", CHUNK_BYTES)


DECOMPRESSORS: dict[Codec, Callable[[Iterable[bytes]], Iterator[bytes]]] = {
    Codec.ZSTD: _zstd,
    Codec.GZIP: _gzip,
    Codec.XZ: _xz,
    Codec.NONE: iter,
}


def decompress(chunks: Iterable[bytes], codec: Codec) -> Iterator[bytes]:
    """The decompressed bytes of `chunks`, which are read to the last byte.

    Raises `CorruptStream`, also if a frame is truncated within its checksum or bytes follow it.
    """
    return DECOMPRESSORS[codec](chunks)


# The frame boundaries of a zstd stream (RFC 8878), found from the headers: the zstandard library
# returns the content of a truncated frame without an error.
MAGIC = 0xFD2FB528
SKIPPABLE, SKIPPABLE_MASK = 0x184D2A50, 0xFFFFFFF0
_START_BYTES = 5
_BLOCK_HEAD_BYTES = 3
_CHECKSUM_BYTES = 4
_RLE, _RESERVED = 1, 3


class ZstdFrames:
    """Observes; raises `CorruptStream` if a frame is truncated or other bytes follow it."""

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
    """Yields how many bytes to read next, or as a negative number to skip; receives those read.

    It yields `_START_BYTES` only where a frame may begin.
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
            raise CorruptStream("no zstd frame begins where one is expected")


def _blocks() -> Generator[int, bytes, None]:
    is_last = False
    while not is_last:
        head = int.from_bytes((yield _BLOCK_HEAD_BYTES), "little")
        is_last, kind, size_bytes = bool(head & 1), head >> 1 & 3, head >> 3
        if kind == _RESERVED:
            raise CorruptStream("a block of the zstd frame has an unknown type")
        yield from _past(1 if kind == _RLE else size_bytes)


def _past(size_bytes: int) -> Generator[int, bytes, None]:
    if size_bytes:
        yield -size_bytes


def _rest_of_header(descriptor: int) -> int:
    """The bytes of window, dictionary id and content size, according to the frame descriptor."""
    is_single = bool(descriptor & 0x20)
    dictionary = (0, 1, 2, 4)[descriptor & 3]
    content = (1 if is_single else 0, 2, 4, 8)[descriptor >> 6]
    return (0 if is_single else 1) + dictionary + content
