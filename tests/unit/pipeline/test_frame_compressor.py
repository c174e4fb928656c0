from __future__ import annotations

import hashlib

import pytest

from holdfast.model.backup import Codec
from holdfast.pipeline import compression, frame_compressor
from holdfast.pipeline.compression import (
    CompressZstd,
    decompress,
    zstd_compressor,
)
from holdfast.pipeline.frame_compressor import FIRST_TRY, FRAMES_BETWEEN_TRIES

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


def repeated_lines(count: int, size_bytes: int) -> bytes:
    """A MiB of lines that look random, each of which returns after many others."""
    known = [hashlib.shake_256(b"%d" % number).digest(size_bytes) for number in range(count)]
    chosen = (known[int(digest(number)[:8], 16) % count] for number in range(MIB // size_bytes + 1))
    return b"".join(chosen)[:MIB]


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


def test_rows_unlike_those_of_the_try_are_not_stored_larger() -> None:
    numbers, lines = random_rows(), repeated_lines(500, 100)
    frames = stored(CompressZstd(1), [numbers] * (FIRST_TRY + 2) + [lines] * 3)
    usual = len(zstd_compressor(1).compress(lines))
    assert [len(frame) for frame in frames[-3:]] == [usual] * 3
    assert b"".join(decompress(frames[-3:], Codec.ZSTD)) == lines * 3


def test_what_no_table_makes_smaller_chooses_none() -> None:
    random, lines = hashlib.shake_256(b"").digest(MIB), repeated_lines(4000, 100)
    frames = stored(CompressZstd(1), [random] * (FIRST_TRY + 1) + [lines])
    assert frames[-1] == zstd_compressor(1).compress(lines)


def test_rows_that_alternate_are_tried_once_for_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    usual = zstd_compressor(1)

    class Counted:
        def compress(self, chunk: bytes) -> bytes:
            made.append(len(chunk))
            return usual.compress(chunk)

    numbers = random_rows()
    halves = numbers[: MIB // 2] + bytes(MIB // 2)
    monkeypatch.setattr(compression, "zstd_compressor", lambda *_, **__: Counted())
    stored(CompressZstd(1), [numbers] * (FIRST_TRY + 1) + [halves, numbers] * 10)
    assert len(made) == FIRST_TRY + 2


def test_only_one_small_table_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    small = frame_compressor._compressor_of_small_table()
    made: list[bool] = []

    def counted() -> object:
        made.append(True)
        return small

    monkeypatch.setattr(frame_compressor, "_compressor_of_small_table", counted)
    stored(CompressZstd(1), [random_rows()] * (FRAMES_BETWEEN_TRIES + FIRST_TRY + 1))
    assert made == [True]
