"""Sums of pieces as the sum of the whole."""

from __future__ import annotations

from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from holdfast.sources.postgres.files.crc import joined


@given(before=st.binary(max_size=300), after=st.binary(max_size=300))
def test_two_pieces_have_the_sum_of_both_in_one(before: bytes, after: bytes) -> None:
    assert joined(crc32c(before), crc32c(after), len(after)) == crc32c(before + after)


def test_a_long_piece_counts_with_all_of_its_length() -> None:
    zeros = bytes(5 << 20)
    assert joined(crc32c(b"head"), crc32c(zeros), len(zeros)) == crc32c(b"head" + zeros)
