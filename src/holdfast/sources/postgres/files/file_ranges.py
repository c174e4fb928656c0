"""Big files in pieces, so that several workers share one, and a killed run loses little of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.model.errors import VerifyFailed
from holdfast.model.file_pieces import PIECE
from holdfast.model.ranges import Span

# Eight of a full segment: big enough that a part costs nothing, small enough to share out.
RANGE_BYTES = 128 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRange(Span):
    """Bytes of a file; the last range ends where the file does."""

    @property
    def details(self) -> dict[str, str]:
        """What the part's plan says of it."""
        return {PIECE: str(self)}

    @property
    def name(self) -> str:
        """Sorts as the bytes do; the number is that of its first MiB."""
        return f"{self.first >> 20:06}"

    @staticmethod
    def of(details: dict[str, str]) -> FileRange | None:
        """None where a part is a whole file. Raises `VerifyFailed` for what nobody has written."""
        if PIECE not in details:
            return None
        try:
            return FileRange.parse(details[PIECE])
        except ValueError as error:
            raise VerifyFailed(f"cannot trust bytes '{details[PIECE]}' of a part") from error


WHOLE = FileRange(first=0)


def cut(
    size_bytes: int, held: Sequence[FileRange] = (), *, range_bytes: int = RANGE_BYTES
) -> list[FileRange]:
    """A file of `size_bytes` from its first byte to an open end, around what is `held` already.

    The last piece may turn out to be empty: the file has only the size that it had.
    """
    found: list[FileRange] = []
    at = 0
    for each in sorted(held, key=lambda each: each.first):
        found += _evenly(at, each.first, range_bytes)
        found.append(each)
        if each.after is None:
            return found
        at = each.after
    while size_bytes - at > range_bytes:
        found.append(FileRange(first=at, after=at + range_bytes))
        at += range_bytes
    return [*found, FileRange(first=at)]


def _evenly(at: int, end: int, range_bytes: int) -> Iterator[FileRange]:
    for first in range(at, end, range_bytes):
        yield FileRange(first=first, after=min(first + range_bytes, end))
