from __future__ import annotations

import re

from holdfast.model import PartKind, Relation
from holdfast.sources.postgres_native import layout
from holdfast.sources.postgres_native.inventory import Facts, Table
from holdfast.sources.postgres_native.transport import Wire


def facts(
    *, is_standby: bool = False, has_large_objects: bool = False, encoding: str = "UTF8"
) -> Facts:
    return Facts(
        version="17.2",
        version_number=170002,
        database="shop",
        login="holdfast",
        encoding=encoding,
        is_standby=is_standby,
        has_large_objects=has_large_objects,
        large_object_bytes=500,
        may_read_passwords=True,
        is_superuser=False,
        subscriptions=0,
    )


def table(
    name: str,
    size_bytes: int = 0,
    *,
    is_foreign: bool = False,
    is_unlogged: bool = False,
    toast_bytes: int = 0,
    has_bytea: bool = False,
    is_stable_in_binary: bool = True,
) -> Table:
    return Table(
        oid=1,
        schema="public",
        name=name,
        is_foreign=is_foreign,
        is_unlogged=is_unlogged,
        size_bytes=size_bytes,
        toast_bytes=toast_bytes,
        has_bytea=has_bytea,
        is_stable_in_binary=is_stable_in_binary,
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
    parts = layout.parts(facts(has_large_objects=True), tables, sequences, {}, transport="wire")
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
    parts = layout.parts(facts(), [table("日"), table("本")], [], {}, transport="wire")
    names = [part.name for part in parts if part.kind is PartKind.DATA]
    assert names == ["data/00001-public.copy", "data/00002-public.copy"]


def test_rows_that_live_elsewhere_are_planned_but_no_part() -> None:
    standby = facts(is_standby=True)
    tables = [table("far", 7, is_foreign=True), table("brief", 7, is_unlogged=True)]
    parts = layout.parts(standby, tables, [], {}, transport="wire")
    assert not [part for part in parts if part.kind is PartKind.DATA]
    plans = layout.table_plans(standby, tables, Wire("asked for"))
    assert [(plan.method, plan.estimated_bytes) for plan in plans] == [("schema only", 0)] * 2
    assert plans[0].reason == "its rows live on another server"
    assert plans[1].reason == "a standby has no rows of unlogged tables"


def test_binary_is_chosen_only_where_long_bytea_rules_and_every_type_is_stable() -> None:
    long = table("long", 100, toast_bytes=60, has_bytea=True)
    others = [
        table("short", 100, toast_bytes=40, has_bytea=True),
        table("texts", 100, toast_bytes=60),
        table("odd", 100, toast_bytes=60, has_bytea=True, is_stable_in_binary=False),
    ]
    plans = layout.table_plans(facts(), [long, *others], Wire("asked for"))
    assert [plan.method for plan in plans] == [
        "copy binary over wire",
        *(["copy text over wire"] * 3),
    ]
    assert "twice the bytes" in plans[0].reason
    (latin,) = layout.table_plans(facts(encoding="LATIN1"), [long], Wire("asked for"))
    assert latin.method == "copy text over wire"
