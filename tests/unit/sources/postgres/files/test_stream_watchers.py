"""Pages in a stream of pg_basebackup that claim to be of WAL that never was."""

from __future__ import annotations

import struct

import pytest

from holdfast.model.errors import BackupFailed
from holdfast.sources.postgres.files.checksum_results import ChecksumResults
from holdfast.sources.postgres.files.page import PAGE_BYTES
from holdfast.sources.postgres.files.stream_watchers import (
    MAGIC,
    DatabasesSent,
    StreamPages,
    TarStream,
    left_out,
    require_databases,
)
from tests.unit.sources.postgres.files.test_incremental_stream import tar_with
from tests.unit.sources.postgres.files.test_page_checksums import page

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


def warning(path: str) -> str:
    return f'WARNING:  skipping special file "./{path}"'


def test_links_that_are_none_of_the_servers_are_told() -> None:
    said = " | ".join(map(warning, 2 * ("dumps", ".s.PGSQL.5432", "postgresql.conf")))
    assert left_out(said) == [
        "left out: 'dumps': a link or a special file",
        "left out: 'postgresql.conf': a link or a special file",
    ]
    assert left_out("NOTICE:  WAL archiving is not enabled") == []


@pytest.mark.parametrize("path", ["base/16384", "pg_xact", "base/5/16390"])
def test_what_the_server_needs_fails_the_backup(path: str) -> None:
    with pytest.raises(BackupFailed, match=f"leaves out '{path}'") as caught:
        left_out(f"{warning('dumps')} | {warning(path)}")
    assert "engine native" in caught.value.hint


def test_a_database_that_was_not_sent_is_told_by_its_name() -> None:
    sent = DatabasesSent()
    names = ("base/1/PG_VERSION", "./base/5/PG_VERSION", "base/6/1259", "x/base/7/PG_VERSION")
    TarStream(sent).feed(tar_with(*((name, b"17\n") for name in names)))
    assert sent.oids == {"1", "5"}
    require_databases(sent.oids, {"1": "template1", "5": "postgres"})
    with pytest.raises(BackupFailed, match="nothing of database 'shop' in 'base/6'"):
        require_databases(sent.oids, {"1": "template1", "6": "shop"})
