"""The parts of an upload stay within the limits of providers."""

from __future__ import annotations

import pytest

from holdfast.model.errors import BackupFailed
from holdfast.repositories.object_store import (
    MIB,
    MOST_PARTS,
    PART_BYTES,
    SMALLEST_PART_BYTES,
    Counted,
    part_bytes_for,
)

TIB = 1 << 40


@pytest.mark.parametrize("size_bytes", [1, 16 * MIB, 80_000 * MIB, 80_000 * MIB + 1, TIB, 5 * TIB])
def test_no_upload_has_more_parts_than_allowed_nor_smaller_ones(size_bytes: int) -> None:
    part_bytes = part_bytes_for(size_bytes)
    assert -(-size_bytes // part_bytes) <= MOST_PARTS
    assert part_bytes >= max(PART_BYTES, SMALLEST_PART_BYTES)
    assert part_bytes % MIB == 0
    assert part_bytes == PART_BYTES or (part_bytes - MIB) * MOST_PARTS < size_bytes


def test_a_stream_that_grows_too_long_is_ended_with_its_remedy() -> None:
    counted = Counted(iter([b"x" * MOST_PARTS, b"x"]), 1, key="job/long")
    assert len(next(counted)) == MOST_PARTS
    with pytest.raises(BackupFailed, match="cannot store 'job/long': it is longer") as raised:
        next(counted)
    assert "part_size" in raised.value.hint
