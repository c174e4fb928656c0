"""WAL records are found where they are and nowhere else, whatever rows contain."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import pytest
from crc32c import crc32c

from holdfast.model.wal import Position
from holdfast.model.wal_records import Segment, TablespaceMade
from tests.support.segments import MIB
from tests.support.wal_writer import HEAP, WalWriter

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def opened(content: bytes, number: int = 3, *, following: bytes = b"") -> Segment:
    segment = Segment(memoryview(content), address=number * MIB)
    segment.follow(following)
    return segment


def made(content: bytes, number: int = 3, *, following: bytes = b"") -> list[TablespaceMade]:
    return [each.made for each in opened(content, number, following=following).tablespaces()]


def changed(content: bytes, changes: list[tuple[int, bytes]] | None) -> bytes:
    assert changes is not None
    new = bytearray(content)
    for offset, each in changes:
        new[offset : offset + len(each)] = each
    return bytes(new)


def test_each_tablespace_is_found_with_its_place_and_that_of_the_record_before() -> None:
    wal = WalWriter()
    wal.filler(9000)
    before = wal.filler(300)
    at = wal.tablespace(16500, "/srv/space")
    after = wal.tablespace(16501, "/" + "long/" * 100)
    wal.filler(100)
    assert made(wal.segments()[0]) == [
        TablespaceMade(oid=16500, location="/srv/space", at=at, after=before),
        TablespaceMade(oid=16501, location="/" + "long/" * 100, at=after, after=at),
    ]


@pytest.mark.parametrize("left", range(8, 140, 8))
def test_a_record_is_found_wherever_a_page_ends_in_it(left: int) -> None:
    wal = WalWriter()
    wal.filler(8192 - 40 - left)
    at = wal.tablespace(16500, "/srv/a/rather/long/name/for/a/space")
    wal.filler(50)
    (found,) = made(wal.segments()[0])
    assert (found.at, found.location) == (at, "/srv/a/rather/long/name/for/a/space")


@pytest.mark.parametrize("left", range(8, 120, 8))
def test_a_record_is_found_though_it_continues_in_the_next_segment(left: int) -> None:
    wal = WalWriter()
    wal.fill_to(left)
    at = wal.tablespace(16500, "/srv/a/rather/long/name/for/a/space")
    wal.filler(50)
    contents = wal.segments()
    first, following = contents[0], contents[1] if len(contents) > 1 else b""
    assert opened(first).is_cut or [each.at for each in made(first)] == [at]
    assert [each.at for each in made(first, following=following)] == [at]
    if following:
        assert made(following, 4) == []


def test_what_looks_like_a_record_in_what_a_user_wrote_is_none() -> None:
    wal = WalWriter()
    other = WalWriter()
    other.tablespace(16500, "/srv/evil")
    fake = other.segments()[0][40:200]
    for shift in range(8):
        wal.record(HEAP, 0, b"z" * shift + fake)
    wal.record(HEAP, 0, fake * 300)
    assert fake[:60] in wal.segments()[0]
    assert made(wal.segments()[0]) == []


def test_a_record_with_a_wrong_checksum_is_none() -> None:
    wal = WalWriter()
    wal.tablespace(16500, "/srv/space")
    content = bytearray(wal.segments()[0])
    content[40 + 20] ^= 1
    assert made(bytes(content)) == []


@pytest.mark.parametrize("content", [b"", b"x" * 100, bytes(MIB), b"\xff" * MIB, b"\x05" * MIB])
def test_what_is_no_wal_holds_no_records(content: bytes) -> None:
    segment = opened(content)
    assert not segment.is_written_through
    assert not segment.is_cut
    assert list(segment.ends()) == []
    assert list(segment.tablespaces()) == []


@pytest.mark.parametrize("left", [0, 8, 16, 24, 30, 4000, 8100])
def test_a_record_is_taken_out_and_all_others_stay(left: int) -> None:
    wal = WalWriter()
    wal.filler(8192 - 40 - left or 8000)
    wal.tablespace(16500, "/srv/space")
    wal.tablespace(16501, "/srv/other")
    wal.commit(NOON)
    content = wal.segments()[0]
    segment = opened(content)
    first, second = segment.tablespaces()
    without = changed(content, segment.without(first))
    assert made(without) == [second.made]
    assert [each.at for each in opened(without).ends()] == [NOON]
    assert opened(without).is_written_through == segment.is_written_through
    ended = changed(content, segment.ended_before(first))
    assert made(ended) == [second.made]
    kind = Position.parse(first.made.at).byte % MIB + 16
    assert (ended[kind : kind + 2], content[kind : kind + 2]) == (b"\x00\x05", b"\x00\x05") or left


def test_a_record_that_was_taken_out_does_nothing_and_has_a_right_checksum() -> None:
    wal = WalWriter()
    wal.tablespace(16500, "/srv/space")
    content = wal.segments()[0]
    (found,) = opened(content).tablespaces()
    record = changed(content, opened(content).without(found))[40 : 40 + len(found.record)]
    size, _, _, info, manager, _, crc = struct.unpack_from("=IIQBBHI", record)
    # XLOG_NOOP.
    assert (size, info, manager) == (len(found.record), 0x20, 0)
    assert crc == crc32c(record[:20], crc32c(record[24:]))


def test_a_recovery_may_end_at_commits_and_restore_points() -> None:
    wal = WalWriter()
    first = wal.commit(NOON)
    wal.filler(9000)
    second = wal.restore_point("noon")
    found = list(opened(wal.segments()[0]).ends())
    assert [(each.lsn, each.at, each.name) for each in found] == [
        (first, NOON, b""),
        (second, None, b"noon"),
    ]


@pytest.mark.parametrize("left", [0, 8, 16, 64, 1000, 8000, 9000])
def test_a_segment_is_finished_when_its_last_page_is_full(left: int) -> None:
    wal = WalWriter()
    wal.fill_to(left)
    assert opened(wal.segments()[0]).is_written_through == (left == 0)
    wal.filler(20000)
    assert opened(wal.segments()[0]).is_written_through


@pytest.mark.parametrize("used", [32, 8000, 8128, 8152, 20000])
def test_a_segment_is_finished_by_a_switch_and_by_nothing_else(used: int) -> None:
    wal = WalWriter()
    wal.filler(used)
    content = wal.segments()[0]
    assert not opened(content).is_written_through
    # A recycled file has another segment's pages behind what is written.
    stale = content[:32768] + WalWriter(first=9).segments()[0][32768:]
    assert not opened(stale).is_written_through
    wal.switch()
    assert opened(wal.segments()[0]).is_written_through
