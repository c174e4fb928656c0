"""How many tables share a part."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st

from holdfast.sources.packing import (
    FEW_BYTES,
    FEW_TABLES,
    FEWEST_PACKS,
    PACK_BYTES,
    TABLES_IN_PACK,
    StreamCutter,
    packs,
)


def packed(sizes: Sequence[int]) -> list[list[int]]:
    return list(packs(sizes, size_of=lambda size_bytes: size_bytes))


def test_a_part_holds_no_more_tables_and_no_more_bytes_than_is_said() -> None:
    many = [2000] * (FEWEST_PACKS * TABLES_IN_PACK + 1)
    assert [len(pack) for pack in packed(many)] == [*[TABLES_IN_PACK] * FEWEST_PACKS, 1]
    large = [PACK_BYTES // 4] * (4 * FEWEST_PACKS + 2)
    assert [len(pack) for pack in packed(large)] == [*[4] * FEWEST_PACKS, 2]
    assert packed([]) == []


def test_some_tables_make_as_many_packs_as_keep_workers_busy() -> None:
    assert [len(pack) for pack in packed([16384] * 400)] == [50] * FEWEST_PACKS
    assert [len(pack) for pack in packed([FEW_BYTES // 2] * 20)] == [2] * 10
    assert [len(pack) for pack in packed([16384] * 30)] == [FEW_TABLES, 5]
    assert [len(pack) for pack in packed([FEW_BYTES // 3] * 4)] == [3, 1]


def test_every_table_is_in_one_pack_in_its_turn() -> None:
    many = [number * 5000 for number in range(300)]
    assert [each for pack in packed(many) for each in pack] == many


@given(st.lists(st.binary(max_size=9)), st.lists(st.integers(0, 5)))
def test_whatever_the_chunks_the_pieces_are_the_same(chunks: list[bytes], sizes: list[int]) -> None:
    whole = b"".join(chunks)
    cutter, position = StreamCutter(iter(chunk for chunk in chunks if chunk)), 0
    for size in sizes:
        if position + size > len(whole):
            break
        assert bytes(cutter.exactly(size)) == whole[position : position + size]
        position += size
    assert cutter.position == position
    cutter.drain()


def test_what_lies_between_is_skipped() -> None:
    cutter = StreamCutter([b"head", b"er,row", b"s,tail"])
    cutter.skip_to(7)
    assert b"".join(cutter.take(4)) == b"rows"
    assert cutter.position == 11


def test_a_stream_that_ends_too_early_says_where() -> None:
    with pytest.raises(EOFError, match="after 3 bytes"):
        list(StreamCutter([b"abc"]).take(4))


def test_what_lies_before_what_was_read_is_not_waited_for() -> None:
    """A negative length was once read for ever."""
    cutter = StreamCutter([b"abcdef"])
    cutter.skip_to(4)
    with pytest.raises(EOFError, match="2 bytes before 4 are read already"):
        cutter.skip_to(2)
    with pytest.raises(EOFError, match="1 bytes before 4"):
        cutter.exactly(-1)
