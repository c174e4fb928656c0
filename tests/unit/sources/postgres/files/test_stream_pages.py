"""Pages in a stream of pg_basebackup that claim to be of WAL that never was."""

from __future__ import annotations

import struct

import pytest

from holdfast.sources.postgres.files.checksum_results import ChecksumResults
from holdfast.sources.postgres.files.page import PAGE_BYTES
from holdfast.sources.postgres.files.stream_pages import MAGIC, StreamPages
from holdfast.sources.postgres.files.tar_stream import TarStream
from tests.unit.sources.postgres.files.test_file_list import tar_with
from tests.unit.sources.postgres.files.test_page import page

START, END, BEYOND = 0x1_0000_0000, 0x1_0000_1000, 0x7_0000_0000


def wrong(block: int, lsn: int) -> bytes:
    made = page(block, lsn=lsn)
    made[6000] ^= 1
    return bytes(made)


def judged(*members: tuple[str, bytes], step: int = 1 << 20) -> dict[str, list[int]]:
    findings = ChecksumResults()
    stream, content = TarStream(StreamPages(START, findings)), tar_with(*members)
    for at in range(0, len(content), step):
        stream.feed(content[at : at + step])
    findings.judge(END)
    return findings.bad


@pytest.mark.parametrize("step", [1000, 8192, 1 << 20])
def test_wrong_pages_beyond_the_end_are_told_by_file_and_block(step: int) -> None:
    good = [bytes(page(block, lsn=START + 5)) for block in range(4)]
    bad = [good[0], wrong(1, BEYOND), bytes(PAGE_BYTES), wrong(3, START + 9)]
    odd = bytes(page(0, lsn=BEYOND))
    found = judged(
        ("PG_VERSION", b"17\n"),
        ("base/5/1259", b"".join(good)),
        ("base/5/1260", b"".join(bad) + b"rest"),
        ("./base/5/1261.1", wrong(131072, BEYOND)),
        ("base/5/1262", odd),
        ("pg_xact/0000", wrong(0, BEYOND)),
        step=step,
    )
    assert found == {"base/5/1260": [1], "base/5/1261.1": [131072]}


@pytest.mark.parametrize("step", [700, 1 << 20])
def test_of_a_file_of_changes_the_blocks_are_those_that_it_names(step: int) -> None:
    blocks = [3, 70, 71]
    head = struct.pack("=III", MAGIC, len(blocks), 100) + struct.pack("=3I", *blocks)
    pages = [bytes(page(3, lsn=START + 1)), wrong(70, BEYOND), bytes(page(71, lsn=START))]
    found = judged(
        ("base/5/INCREMENTAL.1259", head.ljust(PAGE_BYTES, b"\0") + b"".join(pages)),
        ("base/5/INCREMENTAL.1260", struct.pack("=III", MAGIC, 0, 100)),
        ("base/5/INCREMENTAL.1261", struct.pack("=III", 7, 1, 100) + wrong(0, BEYOND)),
        ("base/5/INCREMENTAL.1262", struct.pack("=III", MAGIC, 1 << 31, 100) + bytes(9000)),
        ("base/5/1263", wrong(0, BEYOND)),
        step=step,
    )
    assert found == {"base/5/1259": [70], "base/5/1263": [0]}
