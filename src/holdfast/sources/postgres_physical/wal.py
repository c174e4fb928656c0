"""Positions in the WAL, the names of its segments, and whether a segment is what its name says."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import BackupFailed

# XLogLongPageHeaderData: magic, info, timeline, page address, remaining length; then system
# identifier, segment size, block size. All in the byte order of the host, padded as C does.
_LONG_HEADER = struct.Struct("=HHIQI4xQII")


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A byte of the WAL, as `0/1A2B3C4D`."""

    byte: int

    @staticmethod
    def parse(text: str) -> Position:
        high, _, low = text.partition("/")
        return Position(int(high, 16) << 32 | int(low, 16))

    def __str__(self) -> str:
        return f"{self.byte >> 32:X}/{self.byte & 0xFFFFFFFF:X}"


def segment_name(timeline: int, position: Position, *, segment_bytes: int) -> str:
    """The file that holds `position`; 24 hexadecimal digits."""
    return _name(timeline, position.byte // segment_bytes, segment_bytes)


def segments_between(
    timeline: int, start: Position, stop: Position, *, segment_bytes: int
) -> Iterator[str]:
    """Every segment with a byte of [start, stop): a stop at a boundary needs no further one."""
    last = max(start.byte, stop.byte - 1) // segment_bytes
    for number in range(start.byte // segment_bytes, last + 1):
        yield _name(timeline, number, segment_bytes)


def _name(timeline: int, number: int, segment_bytes: int) -> str:
    per_id = (1 << 32) // segment_bytes
    return f"{timeline:08X}{number // per_id:08X}{number % per_id:08X}"


def require_segment(path: Path, *, segment_bytes: int, system_identifier: str) -> None:
    """Raises `BackupFailed` unless the file at `path` is the whole segment that it is called.

    A recycled file has a new name before its old content is written over.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_LONG_HEADER.size)
        size_bytes = path.stat().st_size
    except FileNotFoundError as error:
        raise _missing(path, "the server has removed it already") from error
    except OSError as error:
        raise _missing(path, str(error.strerror)) from error
    if size_bytes != segment_bytes or len(header) < _LONG_HEADER.size:
        raise _missing(path, f"it has {size_bytes} bytes, a segment has {segment_bytes}")
    _, _, timeline, address, _, identifier, size_told, _ = _LONG_HEADER.unpack(header)
    if size_told != segment_bytes or str(identifier) != system_identifier:
        raise _missing(path, "it is of another cluster")
    told = segment_name(timeline, Position(address), segment_bytes=segment_bytes)
    # A segment may begin on the timeline before the one that it is named for.
    if told[8:] != path.name[8:] or address % segment_bytes:
        raise _missing(path, f"it holds what belongs to '{told}'")


def _missing(path: Path, cause: str) -> BackupFailed:
    return BackupFailed(
        f"cannot collect WAL segment '{path.name}', which this backup needs: {cause}",
        hint="let the login have a replication slot (REPLICATION, max_replication_slots),"
        " or raise wal_keep_size",
    )
