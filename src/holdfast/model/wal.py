"""WAL by its names: positions, file names, and what a segment's header says."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import StrEnum

from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.lazy_pattern import regex

# XLogLongPageHeaderData: magic, info, timeline, page address, remaining length; then system
# identifier, segment size, block size. All in the byte order of the host, padded as C does.
_LONG_HEADER = struct.Struct("=HHIQI4xQII")
HEADER_BYTES = _LONG_HEADER.size
_POSITION = regex(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")
# The sizes that `initdb --wal-segsize` accepts, in bytes.
SMALLEST_SEGMENT, LARGEST_SEGMENT = 1 << 20, 1 << 30
_NAME = regex(
    r"(?P<timeline>[0-9A-F]{8})"
    r"(?:\.history|(?P<high>[0-9A-F]{8})(?P<low>[0-9A-F]{8})"
    r"(?P<suffix>\.partial|\.[0-9A-F]{8}\.backup)?)"
)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A byte position in the WAL, written as `0/1A2B3C4D`."""

    byte: int

    @staticmethod
    def is_one(text: str) -> bool:
        return _POSITION.fullmatch(text) is not None

    @staticmethod
    def parse(text: str) -> Position:
        """Parse `0/1A2B3C4D`; raises `ValueError`."""
        high, _, low = text.partition("/")
        return Position(int(high, 16) << 32 | int(low, 16))

    def segment(self, segment_bytes: int) -> int:
        """The number of the segment that holds this byte, counted from the cluster's first."""
        return self.byte // segment_bytes

    def __str__(self) -> str:
        return f"{self.byte >> 32:X}/{self.byte & 0xFFFFFFFF:X}"


class WalKind(StrEnum):
    """What a file of the WAL is for."""

    SEGMENT = "segment"
    PARTIAL = "partial"
    HISTORY = "history"
    BACKUP = "backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class WalName:
    """The name of a file that a server archives; `high` and `low` count segments."""

    text: str
    kind: WalKind
    timeline: int
    high: int = 0
    low: int = 0

    @staticmethod
    def parse(text: str) -> WalName | None:
        """Parse `text`; None for a name that no server archives."""
        found = _NAME.fullmatch(text)
        if found is None:
            return None
        timeline = int(found["timeline"], 16)
        if found["high"] is None:
            return WalName(text=text, kind=WalKind.HISTORY, timeline=timeline)
        suffix = found["suffix"] or ""
        kinds = {"": WalKind.SEGMENT, ".partial": WalKind.PARTIAL}
        return WalName(
            text=text,
            kind=kinds.get(suffix, WalKind.BACKUP),
            timeline=timeline,
            high=int(found["high"], 16),
            low=int(found["low"], 16),
        )

    def number(self, segment_bytes: int) -> int:
        """The number of the segment, counted from the cluster's first.

        All timelines share the count.
        """
        return self.high * ((1 << 32) // segment_bytes) + self.low


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentHeader:
    """The header on the first page of a segment."""

    timeline: int
    address: int
    system_identifier: str
    segment_bytes: int

    @staticmethod
    def parse(data: bytes) -> SegmentHeader | None:
        """Parse the header; None if `data` is too short."""
        if len(data) < HEADER_BYTES:
            return None
        _, _, timeline, address, _, identifier, size, _ = _LONG_HEADER.unpack(data[:HEADER_BYTES])
        return SegmentHeader(
            timeline=timeline,
            address=address,
            system_identifier=str(identifier),
            segment_bytes=size,
        )

    def problem(self, name: str, *, size_bytes: int, system_identifier: str) -> str:
        """Why a file of that name and size is not that cluster's whole segment; empty if it is.

        A recycled file gets its new name before its old content is overwritten.
        """
        if size_bytes != self.segment_bytes or self.system_identifier != system_identifier:
            return "it belongs to another cluster"
        told = segment_name(self.timeline, Position(self.address), segment_bytes=self.segment_bytes)
        # A segment may begin on the timeline before the one in its name.
        if told[8:] != name[8:24] or self.address % self.segment_bytes:
            return f"it holds the WAL of '{told}'"
        return ""


def is_segment_size(size_bytes: int) -> bool:
    """Whether `initdb` could have created a server with segments of that size."""
    is_power = size_bytes & (size_bytes - 1) == 0
    return is_power and SMALLEST_SEGMENT <= size_bytes <= LARGEST_SEGMENT


def segment_name(timeline: int, position: Position, *, segment_bytes: int) -> str:
    """The name of the file that holds `position`: 24 hexadecimal digits."""
    return numbered_name(timeline, position.segment(segment_bytes), segment_bytes=segment_bytes)


def numbered_name(timeline: int, number: int, *, segment_bytes: int) -> str:
    """The file name of segment `number`, counted from the cluster's first."""
    per_id = (1 << 32) // segment_bytes
    return f"{timeline:08X}{number // per_id:08X}{number % per_id:08X}"


def segments_between(
    timeline: int, start: Position, stop: Position, *, segment_bytes: int
) -> Iterator[str]:
    """The name of every segment with a byte in [start, stop).

    A stop at a boundary needs no further segment.
    """
    last = max(start.byte, stop.byte - 1) // segment_bytes
    for number in range(start.segment(segment_bytes), last + 1):
        yield numbered_name(timeline, number, segment_bytes=segment_bytes)
