"""Pieces of big files: every byte in one of them, whatever was stored before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model.errors import VerifyFailed
from holdfast.model.ranges import gap_in
from holdfast.sources.postgres.files.file_ranges import FileRange, cut

SIZES = st.integers(min_value=0, max_value=100)


def spans(pieces: list[FileRange]) -> list[tuple[int, int | None]]:
    return [(each.first, each.after) for each in pieces]


def test_only_the_last_piece_ends_where_the_file_does() -> None:
    assert spans(cut(25, range_bytes=10)) == [(0, 10), (10, 20), (20, None)]
    assert spans(cut(20, range_bytes=10)) == [(0, 10), (10, None)]
    assert spans(cut(0, range_bytes=10)) == [(0, None)]


@given(before=SIZES, now=SIZES, data=st.data())
def test_what_is_stored_stays_and_the_rest_is_taken_around_it(
    before: int, now: int, data: st.DataObject
) -> None:
    held = data.draw(st.lists(st.sampled_from(cut(before, range_bytes=10)), unique=True))
    again = cut(now, held, range_bytes=10)
    assert gap_in(again) is None
    assert set(held) <= set(again)
    assert len({each.name for each in again}) <= len(again)


def test_pieces_are_told_and_read_back() -> None:
    for piece in cut(300 << 20):
        assert FileRange.of({"path": "base/5/1"} | piece.details) == piece
    assert FileRange.of({"path": "base/5/1"}) is None
    assert [piece.name for piece in cut(300 << 20)] == ["000000", "000128", "000256"]
    with pytest.raises(VerifyFailed, match="bytes 'x-y'"):
        FileRange.of({"bytes": "x-y"})
