"""Which tables share a part."""

from __future__ import annotations

from holdfast.model.backup import Relation
from holdfast.sources.mysql.rows.part_plan import is_small, pack_plan
from holdfast.sources.mysql.server.tables import Table
from holdfast.sources.packing import SMALL_TABLE_BYTES


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


def test_a_pack_of_other_tables_is_another_part_to_a_resumed_run() -> None:
    first, second = pack_plan(1, [table("a"), table("b")]), pack_plan(1, [table("a"), table("c")])
    assert first.name == second.name
    assert first.details != second.details
