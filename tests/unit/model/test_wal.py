"""Positions in the WAL and the names of its files."""

from __future__ import annotations

import pytest

from holdfast.model.wal import Position, WalKind, WalName, segment_name, segments_between
from tests.support.segments import MIB


def test_a_position_reads_and_prints_as_the_server_has_it() -> None:
    assert str(Position.parse("1A/2B3C4D5E")) == "1A/2B3C4D5E"
    assert Position.parse("1/0").byte == 1 << 32


@pytest.mark.parametrize(
    ("text", "segment_bytes", "name"),
    [
        ("0/3000028", 16 * MIB, "000000010000000000000003"),
        ("1/0", 16 * MIB, "000000010000000100000000"),
        ("1/FF000000", 16 * MIB, "0000000100000001000000FF"),
        ("0/3000028", MIB, "000000010000000000000030"),
        ("2/40000000", 1024 * MIB, "000000010000000200000001"),
    ],
)
def test_segments_are_named_as_the_server_names_them(
    text: str, segment_bytes: int, name: str
) -> None:
    assert segment_name(1, Position.parse(text), segment_bytes=segment_bytes) == name


def test_a_backup_needs_every_segment_between_its_ends_and_none_after_a_boundary() -> None:
    found = segments_between(
        1, Position.parse("0/FF000028"), Position.parse("1/1000000"), segment_bytes=16 * MIB
    )
    assert list(found) == ["0000000100000000000000FF", "000000010000000100000000"]


@pytest.mark.parametrize(
    ("text", "kind", "timeline"),
    [
        ("000000010000000000000003", WalKind.SEGMENT, 1),
        ("0000000A0000000000000003.partial", WalKind.PARTIAL, 10),
        ("000000010000000000000003.00000028.backup", WalKind.BACKUP, 1),
        ("00000002.history", WalKind.HISTORY, 2),
    ],
)
def test_what_servers_archive_is_told_by_its_name(text: str, kind: WalKind, timeline: int) -> None:
    name = WalName.parse(text)
    assert name is not None
    assert (name.kind, name.timeline, name.text) == (kind, timeline, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "passwd",
        "00000001000000000000000g",
        "0000000100000000000000",
        "../000000010000000000000003",
        "000000010000000000000003.partial.old",
        "000000010000000000000003\n",
    ],
)
def test_nothing_else_is_a_name(text: str) -> None:
    assert WalName.parse(text) is None


def test_a_name_counts_segments_of_whatever_size() -> None:
    name = WalName.parse("000000010000000200000001")
    assert name is not None
    assert name.number(16 * MIB) == 2 * 256 + 1
    assert name.number(1024 * MIB) == 2 * 4 + 1
