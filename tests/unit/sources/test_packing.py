"""How many tables share a part."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.sources.packing import PACK_BYTES, TABLES_IN_PACK, packs


def packed(sizes: Iterable[int]) -> list[list[int]]:
    return list(packs(sizes, size_of=lambda size_bytes: size_bytes))


def test_a_part_holds_no_more_tables_and_no_more_bytes_than_is_said() -> None:
    many = [16384] * (2 * TABLES_IN_PACK + 1)
    assert [len(pack) for pack in packed(many)] == [TABLES_IN_PACK, TABLES_IN_PACK, 1]
    large = [PACK_BYTES // 4] * 6
    assert [len(pack) for pack in packed(large)] == [4, 2]
    assert packed([]) == []


def test_every_table_is_in_one_pack_in_its_turn() -> None:
    many = [number * 5000 for number in range(300)]
    assert [each for pack in packed(many) for each in pack] == many
