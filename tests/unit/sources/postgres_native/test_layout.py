from __future__ import annotations

import re

from holdfast.model import PartKind, Relation
from holdfast.sources.postgres_native import layout
from holdfast.sources.postgres_native.inventory import Facts, Table


def facts(*, is_standby: bool = False, has_large_objects: bool = False) -> Facts:
    return Facts(
        version="17.2",
        version_number=170002,
        database="shop",
        login="holdfast",
        encoding="UTF8",
        is_standby=is_standby,
        has_large_objects=has_large_objects,
        large_object_bytes=500,
        may_read_passwords=True,
        is_superuser=False,
        subscriptions=0,
    )


def table(
    name: str, size_bytes: int = 0, *, is_foreign: bool = False, is_unlogged: bool = False
) -> Table:
    return Table(
        oid=1,
        schema="public",
        name=name,
        is_foreign=is_foreign,
        is_unlogged=is_unlogged,
        size_bytes=size_bytes,
        estimated_rows=0,
        columns=["id"],
        extension="",
        condition="",
        ancestors=[],
        is_routed_by_enum=False,
    )


def test_bulk_is_read_biggest_first_after_the_schema() -> None:
    tables = [table("Huge one", 1000), table("small", 10)]
    sequences = [Relation(schema="public", name="s")]
    parts = layout.parts(facts(has_large_objects=True), tables, sequences, {})
    assert [part.name for part in parts] == [
        "pre-data.sql",
        "post-data.sql",
        "globals.sql",
        "data/00001-public-huge-one.copy",
        "large-objects.sql",
        "data/00002-public-small.copy",
        "database.sql",
        "sequences.sql",
    ]
    assert all(re.fullmatch(r"[a-z0-9._/-]+", part.name) for part in parts)


def test_an_empty_table_is_a_part_and_tables_alike_by_slug_are_two() -> None:
    parts = layout.parts(facts(), [table("日"), table("本")], [], {})
    names = [part.name for part in parts if part.kind is PartKind.DATA]
    assert names == ["data/00001-public.copy", "data/00002-public.copy"]


def test_rows_that_live_elsewhere_are_planned_but_no_part() -> None:
    standby = facts(is_standby=True)
    tables = [table("far", 7, is_foreign=True), table("brief", 7, is_unlogged=True)]
    assert not [p for p in layout.parts(standby, tables, [], {}) if p.kind is PartKind.DATA]
    plans = layout.table_plans(standby, tables)
    assert [(plan.method, plan.estimated_bytes) for plan in plans] == [("schema only", 0)] * 2
    assert plans[0].reason == "its rows live on another server"
    assert plans[1].reason == "a standby has no rows of unlogged tables"
