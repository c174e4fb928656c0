"""A stream is complete or corrupt: we refuse whatever stock programs refuse."""

from __future__ import annotations

import hashlib
import os
import subprocess

import pytest

from holdfast.model.backup import Codec
from holdfast.pipeline.compression import ZstdFrames, compressor, decompress
from holdfast.pipeline.flow import CorruptStream, flow

TESTERS = {Codec.ZSTD: ["zstd", "-q", "-t"], Codec.GZIP: ["gzip", "-t"]}
CODECS = pytest.mark.parametrize("codec", [*TESTERS, Codec.XZ])
SKIPPABLE = b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"notes"
# Blocks of every kind: compressed, raw, of one byte, and several of them.
CONTENTS = {
    "empty": b"",
    "text": b"1,ann\n2,bob\n" * 20,
    "noise": os.urandom(300),
    "zeros": bytes(300_000),
    "long": b"".join(b"%d,%s\n" % (number, os.urandom(3)) for number in range(40_000)),
}


def stored(content: bytes, codec: Codec, *, level: int = 3, threads: int = 0) -> bytes:
    stage = compressor(codec, level, threads=threads)
    return b"".join(bytes(each) for each in flow([content], [stage]))


def is_whole(data: bytes, codec: Codec, *, cut: int = 1 << 16) -> bool:
    pieces = [data[start : start + cut] for start in range(0, len(data), cut)]
    try:
        for _ in decompress(pieces, codec):
            pass
    except CorruptStream:
        return False
    return True


def stock_says_whole(data: bytes, codec: Codec) -> bool:
    tested = subprocess.run(TESTERS[codec], input=data, capture_output=True, check=False)
    return tested.returncode == 0


@CODECS
@pytest.mark.parametrize("kind", ["empty", "text", "noise"])
def test_a_stream_that_lacks_any_of_its_bytes_at_the_end_is_corrupt(
    codec: Codec, kind: str
) -> None:
    whole = stored(CONTENTS[kind], codec)
    assert is_whole(whole, codec)
    assert [size for size in range(len(whole)) if is_whole(whole[:size], codec)] == []


@pytest.mark.parametrize("codec", TESTERS)
@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("lacking", [0, 1, 3, 4, 5])
def test_stock_programs_and_we_are_of_one_mind(codec: Codec, kind: str, lacking: int) -> None:
    whole = stored(CONTENTS[kind], codec)
    data = whole[: len(whole) - lacking]
    assert is_whole(data, codec) is stock_says_whole(data, codec) is not lacking


@CODECS
@pytest.mark.parametrize("behind", [b"\0", b"x", bytes(64), b"-- \\! id\n" * 9])
def test_what_follows_the_end_of_a_stream_is_not_passed_over(codec: Codec, behind: bytes) -> None:
    assert not is_whole(stored(CONTENTS["text"], codec) + behind, codec)


@pytest.mark.parametrize("cut", [1, 2, 7, 1 << 20])
@pytest.mark.parametrize("kind", ["text", "zeros", "noise"])
def test_frames_are_told_apart_however_the_stream_is_cut(kind: str, cut: int) -> None:
    data = stored(CONTENTS[kind], Codec.ZSTD)
    for several in (data + data, SKIPPABLE + data, data + SKIPPABLE, data + SKIPPABLE + data):
        pieces = [several[start : start + cut] for start in range(0, len(several), cut)]
        assert b"".join(map(bytes, flow(pieces, [ZstdFrames()]))) == several
        assert stock_says_whole(several, Codec.ZSTD)
        assert not is_whole(several[:-1], Codec.ZSTD, cut=max(cut, 64))


@pytest.mark.parametrize("options", [[], ["--no-check"], ["--long=27"], ["-T2"], ["-19"], ["-1"]])
def test_frames_of_the_stock_program_are_understood(options: list[str]) -> None:
    content = CONTENTS["long"]
    argv = ["zstd", "-q", "-c", *options]
    data = subprocess.run(argv, input=content, capture_output=True, check=True).stdout
    assert b"".join(decompress([data], Codec.ZSTD)) == content
    assert not is_whole(data[:-1], Codec.ZSTD)


@pytest.mark.parametrize(("level", "threads"), [(1, 0), (3, 2), (19, 0)])
def test_a_frame_of_every_level_is_whole_to_its_last_byte(level: int, threads: int) -> None:
    data = stored(CONTENTS["long"], Codec.ZSTD, level=level, threads=threads)
    assert is_whole(data, Codec.ZSTD)
    assert not is_whole(data[:-3], Codec.ZSTD)


def test_bytes_that_are_no_frame_at_all_are_corrupt() -> None:
    for data in (b"", b"\x28\xb5\x2f", b"COPY public.orders", os.urandom(100)):
        assert not is_whole(data, Codec.ZSTD)
        assert not is_whole(data, Codec.GZIP)
        assert not is_whole(data, Codec.XZ)


MIB = 1 << 20
# Rows of a table with numbers and names.
ROWS = b"".join(
    b"%d\t%s\t%d\n"
    % (number, hashlib.sha256(b"%d" % number).hexdigest()[:32].encode(), number % 1000)
    for number in range(120_000)
)


def frames(data: bytes) -> int:
    """The number of frames, by the stock program."""
    listed = subprocess.run(
        ["zstd", "--list", "-v", "/dev/stdin"], input=data, capture_output=True, check=False
    )
    if listed.returncode == 0:
        return int(listed.stdout.decode().partition("Zstandard Frames: ")[2].split()[0])
    return data.count((0xFD2FB528).to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("level", "chunks", "expected"),
    [
        pytest.param(1, [MIB, MIB, MIB], 3, id="each chunk of two windows"),
        pytest.param(1, [MIB, MIB, 5, MIB], 3, id="one frame from the first shorter chunk on"),
        pytest.param(1, [MIB - 1, MIB], 1, id="a shorter chunk first"),
        pytest.param(2, [MIB, MIB], 1, id="the window of level 2 is longer"),
        pytest.param(2, [2 * MIB, 1], 2, id="two windows of level 2"),
        pytest.param(1, [5 * MIB], 1, id="too long for one step"),
        pytest.param(1, [0], 1, id="nothing"),
    ],
)
def test_chunks_of_two_windows_are_frames_and_the_stream_is_whole(
    level: int, chunks: list[int], expected: int
) -> None:
    content = ROWS[: sum(chunks)]
    stage, start, stored_bytes = compressor(Codec.ZSTD, level), 0, b""
    for size in chunks:
        stored_bytes += b"".join(map(bytes, stage.feed(memoryview(content)[start : start + size])))
        start += size
    stored_bytes += b"".join(map(bytes, stage.finish()))
    assert frames(stored_bytes) == expected
    assert b"".join(decompress([stored_bytes], Codec.ZSTD)) == content
    assert stock_says_whole(stored_bytes, Codec.ZSTD)
    assert [is_whole(stored_bytes[:-lacking], Codec.ZSTD) for lacking in (1, 4, 5)] == [False] * 3


def test_frames_of_chunks_cost_little_space() -> None:
    whole = stored(ROWS, Codec.ZSTD, level=1)
    stage = compressor(Codec.ZSTD, 1)
    pieces = [ROWS[start : start + MIB] for start in range(0, len(ROWS), MIB)]
    cut = b"".join(bytes(each) for each in flow(pieces, [stage]))
    assert len(cut) < 1.01 * len(whole)
