from __future__ import annotations

import pytest

from holdfast.model.backup import Part, Relation
from holdfast.model.errors import RestoreFailed
from holdfast.ports.target import RestoreRequest
from holdfast.sources.postgres.restore import selection
from holdfast.sources.postgres.server.table_part import TablePart
from tests.support.kept_parts import kept


def public(name: str) -> Relation:
    return Relation(schema="public", name=name)


def part(name: str, *ancestors: str, number: int = 1) -> Part:
    table = TablePart(
        relation=public(name),
        columns=("id",),
        encoding="UTF8",
        ancestors=tuple(public(ancestor) for ancestor in ancestors),
    )
    return kept(table, name=f"data/{name}-{number}.copy")


PARTS = (part("a"), part("b"), part("y2020", "year"), part("y2021", "year"))


@pytest.mark.parametrize(
    ("wanted", "brought", "filled"),
    [
        ((), {"a", "b", "y2020", "y2021"}, {"a", "b", "y2020", "y2021", "year"}),
        (("a",), {"a"}, {"a"}),
        (("year",), {"y2020", "y2021"}, {"y2020", "y2021", "year"}),
        (("y2020", "b"), {"y2020", "b"}, {"y2020", "b"}),
    ],
)
def test_a_partitioned_table_is_full_only_with_all_its_partitions(
    wanted: tuple[str, ...], brought: set[str], filled: set[str]
) -> None:
    request = RestoreRequest(parts=PARTS, tables=tuple(public(name) for name in wanted))
    chosen = selection.data_parts(request)
    assert {each.relation for each in chosen} == {public(name) for name in brought}
    assert selection.filled_relations(request) == {public(name) for name in filled}


def test_a_table_that_is_not_in_the_backup_is_refused() -> None:
    with pytest.raises(RestoreFailed, match=r"'public\.zzz': the backup does not hold its rows"):
        selection.data_parts(RestoreRequest(parts=PARTS, tables=(public("zzz"),)))
