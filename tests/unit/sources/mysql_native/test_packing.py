"""Which tables share a part."""

from __future__ import annotations

from holdfast.model import Relation
from holdfast.sources.mysql_native.packing import (
    PACK_BYTES,
    SMALL_TABLE_BYTES,
    TABLES_IN_PACK,
    is_small,
    pack_plan,
    packs,
)
from holdfast.sources.mysql_native.tables import Table


def table(name: str = "t", *, size_bytes: int = 16384, engine: str = "InnoDB") -> Table:
    return Table(
        relation=Relation(schema="shop", name=name),
        kind="BASE TABLE",
        engine=engine,
        columns=(),
        key=None,
        rows=1,
        row_bytes=1,
        data_bytes=size_bytes,
    )


def test_large_tables_and_those_that_are_locked_have_parts_of_their_own() -> None:
    assert is_small(table())
    assert not is_small(table(size_bytes=SMALL_TABLE_BYTES))
    assert not is_small(table(engine="MyISAM"))


def test_a_part_holds_no_more_tables_and_no_more_bytes_than_is_said() -> None:
    many = [table(f"t{number}") for number in range(2 * TABLES_IN_PACK + 1)]
    assert [len(pack) for pack in packs(many)] == [TABLES_IN_PACK, TABLES_IN_PACK, 1]
    large = [table(f"t{number}", size_bytes=PACK_BYTES // 4) for number in range(6)]
    assert [len(pack) for pack in packs(large)] == [4, 2]
    assert list(packs([])) == []


def test_every_table_is_in_one_pack_in_its_turn() -> None:
    many = [table(f"t{number}", size_bytes=number * 5000) for number in range(300)]
    assert [each for pack in packs(many) for each in pack] == many


def test_a_pack_of_other_tables_is_another_part_to_a_run_that_goes_on() -> None:
    first, second = pack_plan(1, [table("a"), table("b")]), pack_plan(1, [table("a"), table("c")])
    assert first.name == second.name
    assert first.details != second.details
