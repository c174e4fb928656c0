"""How large the parts of a multipart upload are: what the providers allow, and memory bears."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.model.errors import BackupFailed

MIB = 1 << 20
# S3 and Google take 10,000 parts of 5 MiB or more, Azure 50,000 blocks: the narrowest holds.
MOST_PARTS = 10_000
SMALLEST_PART_BYTES = 5 * MIB
PART_BYTES = 8 * MIB
PARTS_AT_ONCE = 2


def part_bytes_for(size_bytes: int, least: int = PART_BYTES) -> int:
    """The size of each part where the whole is known: `least`, or more where that is too many."""
    needed = -(-size_bytes // MOST_PARTS)
    return max(least, SMALLEST_PART_BYTES, -(-needed // MIB) * MIB)


class Counted:
    """A stream that knows how much has passed, and ends what would be too long for a store."""

    def __init__(self, chunks: Iterator[bytes], part_bytes: int, *, key: str) -> None:
        self._chunks = chunks
        self._most_bytes = part_bytes * MOST_PARTS
        self._key = key
        self.size_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self.size_bytes += len(chunk)
        if self.size_bytes > self._most_bytes:
            raise BackupFailed(
                f"cannot store '{self._key}': it is longer than {MOST_PARTS} parts of"
                f" {self._most_bytes // MOST_PARTS // MIB} MiB",
                hint="raise part_size of the repository, or split tables with chunk_size",
            )
        return chunk
