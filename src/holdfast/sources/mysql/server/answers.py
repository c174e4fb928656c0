"""The rows of an answer, from the packets that bring them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from holdfast.model.lazy_dataclass import dataclass

Row = tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class UncopiedRow:
    """A row in the packet that brought it: where each value begins and ends, None for NULL."""

    packet: bytes
    bounds: Sequence[tuple[int, int] | None]

    def value(self, column: int) -> bytes | None:
        """A copy of one value; negative numbers count from the last column."""
        found = self.bounds[column]
        return None if found is None else self.packet[slice(*found)]


Answered = TypeVar("Answered", Row, UncopiedRow)


def values_of(packet: Any, columns: range) -> Row:
    return tuple([packet.read_length_coded_string() for _ in columns])


def uncopied(packet: Any, columns: range) -> UncopiedRow:
    bounds: list[tuple[int, int] | None] = []
    for _ in columns:
        size_bytes = packet.read_length_encoded_integer()
        if size_bytes is None:
            bounds.append(None)
            continue
        start = packet._position  # noqa: SLF001 - PyMySQL tells it by no other name
        packet.advance(size_bytes)
        bounds.append((start, start + size_bytes))
    return UncopiedRow(packet.get_all_data(), bounds)
