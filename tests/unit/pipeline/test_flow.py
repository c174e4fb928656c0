"""The pipeline returns what it was given, and stock tools can read its output."""

from __future__ import annotations

import gzip
import itertools
import os
import subprocess
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, strategies as st

from holdfast.model.backup import Codec
from holdfast.model.fingerprints import BLAKE3, XXH3, fingerprint_of
from holdfast.pipeline.compression import COMPRESSORS, compressor, decompress, zstd_compressor
from holdfast.pipeline.flow import CorruptStream, Fingerprint, flow

MIB = 1 << 20


def compressed(chunks: list[bytes], codec: Codec) -> bytes:
    return b"".join(bytes(each) for each in flow(chunks, [COMPRESSORS[codec](3)]))


@pytest.mark.parametrize("codec", list(Codec))
@given(chunks=st.lists(st.binary(max_size=5000), max_size=8), cut=st.integers(1, 997))
def test_any_bytes_cut_anywhere_come_back(codec: Codec, chunks: list[bytes], cut: int) -> None:
    stored = compressed(chunks, codec)
    pieces = [stored[start : start + cut] for start in range(0, len(stored), cut)]
    assert b"".join(decompress(pieces, codec)) == b"".join(chunks)


def test_zstd_and_gzip_streams_are_readable_by_the_stock_programs() -> None:
    plain = b"order,customer\n" * 10_000
    by_zstd = subprocess.run(
        ["zstd", "-dc"], input=compressed([plain], Codec.ZSTD), capture_output=True, check=True
    )
    assert by_zstd.stdout == plain
    assert gzip.decompress(compressed([plain], Codec.GZIP)) == plain


def test_fingerprints_on_both_sides_of_a_stage_see_plain_and_stored_bytes() -> None:
    plain, stored = Fingerprint(XXH3), Fingerprint(BLAKE3)
    chunks = [b"a" * 1000, b"b" * 1000]
    out = b"".join(bytes(c) for c in flow(chunks, [plain, COMPRESSORS[Codec.ZSTD](3), stored]))
    assert (plain.size_bytes, plain.fingerprint) == (2000, fingerprint_of(b"".join(chunks), XXH3))
    assert (stored.size_bytes, stored.fingerprint) == (len(out), fingerprint_of(out, BLAKE3))


def test_a_source_may_use_its_buffer_again_for_the_next_chunk() -> None:
    def reused() -> Iterator[memoryview]:
        buffer = bytearray(4)
        for number in range(100):
            buffer[:] = b"%04d" % number
            yield memoryview(buffer)

    stored = b"".join(bytes(c) for c in flow(reused(), [COMPRESSORS[Codec.ZSTD](3)]))
    assert b"".join(decompress([stored], Codec.ZSTD)) == b"".join(b"%04d" % n for n in range(100))


@pytest.mark.parametrize("codec", [Codec.ZSTD, Codec.GZIP])
def test_a_flipped_bit_does_not_go_unnoticed(codec: Codec) -> None:
    stored = bytearray(compressed([bytes(range(256)) * 200], codec))
    stored[len(stored) // 2] ^= 1
    with pytest.raises(CorruptStream):
        list(decompress([bytes(stored)], codec))


def test_a_gzip_member_that_ends_early_is_corrupt() -> None:
    with pytest.raises(CorruptStream, match="ends too early"):
        list(decompress([compressed([b"x" * 5000], Codec.GZIP)[:-9]], Codec.GZIP))


@pytest.mark.parametrize("codec", [Codec.ZSTD, Codec.GZIP])
def test_a_stream_that_explodes_is_read_in_bounded_memory(codec: Codec) -> None:
    zeros = itertools.repeat(bytes(MIB), 200)
    stored = b"".join(bytes(c) for c in flow(zeros, [COMPRESSORS[codec](1)]))
    tracemalloc.start()
    size_bytes = sum(len(chunk) for chunk in decompress([stored], codec))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size_bytes == 200 * MIB
    assert peak < 16 * MIB


@pytest.mark.parametrize("codec", Codec)
def test_threads_change_nothing_about_what_comes_back(codec: Codec) -> None:
    chunks = [bytes([number]) * 100_000 for number in range(50)]
    stored = b"".join(bytes(each) for each in flow(chunks, [compressor(codec, 3, threads=2)]))
    assert b"".join(decompress([stored], codec)) == b"".join(chunks)


def test_threads_hold_little_of_the_content_in_memory() -> None:
    """With the jobs that zstd chooses itself it is 18 MiB."""
    compressing = zstd_compressor(1, threads=2)
    stream = compressing.compressobj()
    content = os.urandom(MIB)
    for _ in range(64):
        stream.compress(content)
    assert compressing.memory_size() < 14 * MIB
