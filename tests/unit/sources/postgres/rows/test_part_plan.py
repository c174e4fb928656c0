from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from holdfast.model.backup import PartKind, PartPlan, Relation
from holdfast.sources.postgres.rows import part_plan
from holdfast.sources.postgres.rows.long_values import Slice
from holdfast.sources.postgres.rows.part_plan import Listing, PartLayout, Shape
from holdfast.sources.postgres.rows.transport import Wire
from holdfast.sources.postgres.server.catalog_queries import Facts, Table
from holdfast.sources.postgres.server.table_part import Pages

MIB = 1 << 20
SHAPE = Shape(chunk_bytes=100 * MIB)
SLICE = Slice(
    first=1, after=None, without=(), knows_pages=True, by_pages=True, estimated_bytes=5 * MIB
)


def facts(
    *,
    is_standby: bool = False,
    has_large_objects: bool = False,
    encoding: str = "UTF8",
    database_bytes: int = 10**9,
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
        database_bytes=database_bytes,
        may_read_pages_of_large_objects=True,
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
    pages: int = 1000,
    bytea_columns: tuple[str, ...] = (),
    columns: tuple[str, ...] = ("id",),
    condition: str = "",
    is_stable_in_binary: bool = True,
    is_incompressible: bool = False,
) -> Table:
    return Table(
        oid=1,
        schema="public",
        name=name,
        is_foreign=is_foreign,
        is_unlogged=is_unlogged,
        size_bytes=size_bytes,
        toast_bytes=toast_bytes,
        pages=pages,
        bytea_columns=list(bytea_columns),
        is_stable_in_binary=is_stable_in_binary,
        estimated_rows=0,
        columns=list(columns),
        types=["integer" for _ in columns],
        extension="",
        condition=condition,
        ancestors=[],
        is_routed_by_enum=False,
        is_incompressible=is_incompressible,
    )


def laid_out(
    tables: list[Table],
    *,
    found: Facts | None = None,
    shape: Shape = SHAPE,
    slices: tuple[Slice, ...] = (),
    sequences: tuple[Relation, ...] = (),
    long_objects: Sequence[int] = (),
) -> PartLayout:
    return part_plan.lay_out(
        found or facts(),
        Listing(
            tables=tables,
            sequences=sequences,
            slices=slices,
            creation={},
            long_objects=long_objects,
        ),
        shape=shape,
        transport="fifo",
    )


def test_bulk_is_read_biggest_first_after_the_schema() -> None:
    made = laid_out(
        [table("Huge one", 90 * MIB), table("small", 2 * MIB), table("tiny", 10)],
        found=facts(has_large_objects=True),
        slices=(SLICE,),
        sequences=(Relation(schema="public", name="s"),),
    )
    assert [part.name for part in made.parts] == [
        "pre-data.sql",
        "globals.sql",
        "data/00001-public-huge-one.copy",
        "large-objects/00001.copy",
        "data/00002-public-small.copy",
        "data/pack-00001.sql",
        "post-data.sql",
        "database.sql",
        "large-objects.sql",
        "sequences.sql",
    ]
    assert all(re.fullmatch(r"[a-z0-9._/-]+", part.name) for part in made.parts)


def test_what_does_not_become_smaller_is_not_compressed_in_any_of_its_ranges() -> None:
    pictures = table(
        "pictures",
        3 * SHAPE.chunk_bytes,
        toast_bytes=3 * SHAPE.chunk_bytes,
        bytea_columns=("id",),
        is_incompressible=True,
    )
    made = laid_out([pictures, table("words", 2 * MIB)])
    data = [part for part in made.parts if part.kind is PartKind.DATA]
    assert [part.compress for part in data] == [False, False, False, True]
    (plan, _) = part_plan.table_plans(
        facts(), [pictures, table("words")], transport=Wire("as requested"), shape=SHAPE
    )
    assert plan.method.endswith("3 ranges, not compressed")
    assert plan.reason == "mostly long bytea, and a sample of it did not shrink"


def test_text_of_what_does_not_become_smaller_is_compressed() -> None:
    odd = table(
        "odd",
        2 * MIB,
        toast_bytes=2 * MIB,
        bytea_columns=("id",),
        is_stable_in_binary=False,
        is_incompressible=True,
    )
    data = [part for part in laid_out([odd]).parts if part.kind is PartKind.DATA]
    assert {part.compress for part in data} == {True}


def test_tables_alike_by_slug_are_two_parts() -> None:
    made = laid_out([table("日", 2 * MIB), table("本", 2 * MIB)])
    names = [part.name for part in made.parts if part.kind is PartKind.DATA]
    assert names == ["data/00001-public.copy", "data/00002-public.copy"]


def test_ten_thousand_small_tables_are_twenty_parts_and_none_is_lost() -> None:
    made = laid_out([table(f"t{number}", number % 3 * 8192) for number in range(10_000)])
    packs = [of for name, of in made.tables.items() if "pack" in name]
    assert len(packs) == 20
    assert len({part.relation for pack in packs for part in pack}) == 10_000
    assert all(part.format == "text" for pack in packs for part in pack)


def test_a_pack_is_full_by_size_too() -> None:
    made = laid_out([table(f"t{number}", MIB - 1) for number in range(140)])
    assert [len(of) for of in made.tables.values()] == [*[16] * 8, 12]


def test_a_huge_table_is_split_into_ranges_that_leave_no_page_out() -> None:
    made = laid_out([table("huge", 350 * MIB, pages=1001)])
    (ranges,) = [[part.pages for (part,) in made.tables.values()]]
    assert ranges == [
        Pages(first=0, after=250),
        Pages(first=250, after=500),
        Pages(first=500, after=750),
        Pages(first=750, after=None),
    ]
    assert [part.name for part in made.parts if part.kind is PartKind.DATA] == [
        f"data/00001-public-huge-000{number}.copy" for number in (1, 2, 3, 4)
    ]


@pytest.mark.parametrize(
    "unsplittable",
    [
        table("configuration", 350 * MIB, condition="WHERE mine"),
        table("without columns", 350 * MIB, columns=()),
        table("one page, the rest is TOAST", 350 * MIB, pages=1),
        table("not a heap", 350 * MIB, pages=0),
    ],
    ids=lambda each: each.name,
)
def test_a_table_that_cannot_be_split_is_one_part(unsplittable: Table) -> None:
    assert len(laid_out([unsplittable]).tables) == 1


def test_the_size_of_the_database_decides_the_size_of_a_part() -> None:
    assert part_plan.chunk_bytes(facts(database_bytes=10**9), None) == (
        256 * MIB,
        "the database is smaller than 4.7 GiB",
    )
    assert part_plan.chunk_bytes(facts(database_bytes=5 * 10**9), None)[0] == 1024 * MIB
    assert part_plan.chunk_bytes(facts(), 7) == (7, "as requested")


def test_rows_that_live_elsewhere_are_planned_but_no_part() -> None:
    standby = facts(is_standby=True)
    tables = [table("far", 7, is_foreign=True), table("brief", 7, is_unlogged=True)]
    assert not laid_out(tables, found=standby).tables
    plans = part_plan.table_plans(standby, tables, transport=Wire("as requested"), shape=SHAPE)
    assert [(plan.method, plan.estimated_bytes) for plan in plans] == [("schema only", 0)] * 2
    assert plans[0].reason == "its rows are on another server"
    assert plans[1].reason == "a standby has no rows of unlogged tables"


def test_binary_is_chosen_only_where_long_bytea_rules_and_every_type_is_stable() -> None:
    size = 100 * MIB
    long = table("long", size, toast_bytes=60 * MIB, bytea_columns=("id",))
    others = [
        table("short", size, toast_bytes=40 * MIB, bytea_columns=("id",)),
        table("texts", size, toast_bytes=60 * MIB),
        table("odd", size, toast_bytes=60 * MIB, bytea_columns=("id",), is_stable_in_binary=False),
    ]
    plans = part_plan.table_plans(
        facts(), [long, *others], transport=Wire("as requested"), shape=SHAPE
    )
    assert [plan.method for plan in plans] == [
        "copy binary over wire",
        *(["copy text over wire"] * 3),
    ]
    assert "twice the bytes" in plans[0].reason
    (latin,) = part_plan.table_plans(
        facts(encoding="LATIN1"), [long], transport=Wire("as requested"), shape=SHAPE
    )
    assert latin.method == "copy text over wire"


def test_the_plan_says_what_is_split_packed_and_kept_aside() -> None:
    shape = Shape(chunk_bytes=100 * MIB, keeps_blobs=True, external_bytes=MIB, marker=b"m")
    tables = [
        table("huge", 350 * MIB),
        table("tiny", 10),
        table("files", 50 * MIB, toast_bytes=49 * MIB, bytea_columns=("body",)),
    ]
    plans = part_plan.table_plans(facts(), tables, transport=Wire("as requested"), shape=shape)
    assert [plan.method for plan in plans] == [
        "copy text over wire, 4 ranges",
        "copy text over wire, packed",
        "copy text over wire, blobs separately",
    ]
    made = laid_out(tables, shape=shape)
    assert [part.name for part in made.parts if part.kind is PartKind.BLOBS] == [
        "blobs/00003-public-files.txt"
    ]


@pytest.mark.parametrize(
    ("bytes_of_all", "count", "parts"), [(500, 3, 1), (200 * MIB, 3, 3), (10**12, 1000, 64)]
)
def test_long_objects_are_dealt_out_to_all_workers(
    bytes_of_all: int, count: int, parts: int
) -> None:
    found = replace(facts(has_large_objects=True), large_object_bytes=bytes_of_all)
    made = laid_out([], found=found, long_objects=range(count))
    named = [part.name for part in made.parts if part.kind is PartKind.BLOBS]
    assert named == list(made.long_objects)
    assert len(named) == parts
    assert sorted(oid for of in made.long_objects.values() for oid in of) == list(range(count))


def test_a_pack_of_other_tables_is_another_pack() -> None:
    def pack(*names: str) -> PartPlan:
        (part,) = (
            each for each in laid_out([table(name) for name in names]).parts if "pack" in each.name
        )
        return part

    assert pack("a", "b") == pack("a", "b")
    assert pack("a", "b").details != pack("a", "c").details
