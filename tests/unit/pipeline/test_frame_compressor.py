from __future__ import annotations

import hashlib

import pytest

from holdfast.model.backup import Codec
from holdfast.pipeline.compression import (
    FIRST_TRY,
    FRAMES_BETWEEN_TRIES,
    CompressZstd,
    decompress,
    zstd_compressor,
)

MIB = 1 << 20


def digest(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).hexdigest()[:32].encode()


def random_rows() -> bytes:
    """A MiB of rows of which each repeats only itself."""
    rows = (b"(%d,'%s','%s'),\n" % (each, digest(each) * 4, digest(-each)) for each in range(7_000))
    return b"".join(rows)[:MIB]


def words() -> bytes:
    """A MiB of text that repeats words from far away."""
    known = [digest(number)[:11] for number in range(3000)]
    chosen = (known[int(digest(number)[:8], 16) % len(known)] for number in range(99_000))
    return b" ".join(chosen)[:MIB]


def stored(stage: CompressZstd, chunks: list[bytes]) -> list[bytes]:
    made = [bytes(each) for chunk in chunks for each in stage.feed(chunk)]
    return made + [bytes(each) for each in stage.finish()]


def test_a_small_table_serves_the_rows_that_it_does_not_make_larger() -> None:
    chunk = random_rows()
    frames = stored(CompressZstd(1), [chunk] * (FIRST_TRY + 2))
    usual = len(zstd_compressor(1).compress(chunk))
    sizes = [len(frame) for frame in frames]
    assert sizes[:FIRST_TRY] == [usual] * FIRST_TRY
    assert sizes[FIRST_TRY] == sizes[-1] < usual
    assert b"".join(decompress(frames, Codec.ZSTD)) == chunk * (FIRST_TRY + 2)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_text_and_other_levels_keep_the_table_of_their_level(level: int) -> None:
    chunk = words() if level == 1 else random_rows() * 4
    frames = stored(CompressZstd(level), [chunk] * (FIRST_TRY + 2))
    assert set(frames) == {zstd_compressor(level).compress(chunk)}


def test_rows_that_change_are_tried_again() -> None:
    text, numbers = words(), random_rows()
    chunks = [text] * FRAMES_BETWEEN_TRIES + [numbers] * (FIRST_TRY + 1)
    frames = stored(CompressZstd(1), chunks)
    assert len(frames[-1]) < len(frames[-2])
    assert len(frames[-2]) == len(zstd_compressor(1).compress(numbers))
