"""Names and contents of WAL segments."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from holdfast.errors import BackupFailed
from holdfast.sources.postgres_physical.wal import (
    Position,
    require_segment,
    segment_name,
    segments_between,
)

MIB = 1 << 20


def header(name: str, *, identifier: int = 77, segment_bytes: int = MIB) -> bytes:
    per_id = (1 << 32) // segment_bytes
    address = (int(name[8:16], 16) * per_id + int(name[16:], 16)) * segment_bytes
    timeline = int(name[:8], 16)
    return struct.pack(
        "=HHIQI4xQII", 0xD10D, 2, timeline, address, 0, identifier, segment_bytes, 8192
    )


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


def test_a_whole_segment_of_this_cluster_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "000000010000000000000030"
    path.write_bytes(header(path.name).ljust(MIB, b"\0"))
    require_segment(path, segment_bytes=MIB, system_identifier="77")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "the server has removed it already"),
        (header("000000010000000000000030"), "it has 40 bytes"),
        (header("000000010000000000000010").ljust(MIB, b"\0"), "it holds what belongs to"),
        (header("000000010000000000000030", identifier=9).ljust(MIB, b"\0"), "another cluster"),
    ],
)
def test_what_is_not_the_segment_is_refused(
    tmp_path: Path, content: bytes | None, cause: str
) -> None:
    path = tmp_path / "000000010000000000000030"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BackupFailed, match=cause):
        require_segment(path, segment_bytes=MIB, system_identifier="77")
