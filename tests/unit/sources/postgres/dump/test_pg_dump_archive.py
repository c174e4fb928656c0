from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.model.backup import Codec, Part, PartKind, PartPlan, Relation
from holdfast.sources.postgres.dump import pg_dump_archive
from holdfast.sources.postgres.dump.pg_dump_archive import CUSTOM, PLAIN, Compression
from holdfast.sources.postgres.server.catalog_queries import Facts, Table
from holdfast.sources.postgres.server.client_programs import Tool
from holdfast.sources.postgres.server.login import Login
from tests.support.manifests import bare_part

TOOL = Tool(path=Path("/usr/bin/pg_dump"), version="17.6", major=17)
GB = 10**9


def facts(*, database: str = "shop", database_bytes: int = GB) -> Facts:
    return Facts(
        version="17.2",
        version_number=170002,
        database=database,
        login="holdfast",
        encoding="UTF8",
        is_standby=False,
        has_large_objects=False,
        large_object_bytes=0,
        database_bytes=database_bytes,
        may_read_pages_of_large_objects=True,
        may_read_passwords=True,
        is_superuser=False,
        subscriptions=0,
    )


def table(oid: int, name: str, *, ancestors: int = 0, is_foreign: bool = False) -> Table:
    return Table(
        oid=oid,
        schema="Wei.rd",
        name=name,
        is_foreign=is_foreign,
        is_unlogged=False,
        size_bytes=8192,
        toast_bytes=0,
        pages=1,
        bytea_columns=[],
        is_stable_in_binary=True,
        estimated_rows=1,
        columns=["id"],
        types=["integer"],
        extension="",
        condition="",
        ancestors=[["public", f"above {number}"] for number in range(ancestors)],
        is_routed_by_enum=False,
    )


def planned(
    *tables: Table, form: str = CUSTOM, database: str = "shop", workers: int = 2
) -> tuple[PartPlan, ...]:
    return pg_dump_archive.parts_of(
        facts(database=database),
        tables,
        {"ENCODING": "UTF8"},
        form=form,
        pg_dump=TOOL,
        workers=workers,
    )


@pytest.mark.parametrize(
    ("size_bytes", "form"), [(0, CUSTOM), (5 * GB - 1, CUSTOM), (5 * GB, PLAIN), (99 * GB, PLAIN)]
)
def test_the_size_of_the_database_decides_the_format(size_bytes: int, form: str) -> None:
    found = facts(database_bytes=size_bytes)
    chosen, reason = pg_dump_archive.format_for(found, plain_from_bytes=5 * GB)
    assert chosen == form
    assert "4.7 GiB" in reason


def test_a_custom_dump_is_not_compressed_again() -> None:
    dump, *rest = planned(form=CUSTOM, workers=8)
    assert (dump.compress, dump.compress_threads) == (False, 0)
    assert {part.compress for part in rest} == {True}


@pytest.mark.parametrize(("workers", "threads"), [(1, 1), (3, 3), (10, 4)])
def test_a_plain_dump_is_compressed_by_as_many_threads_as_help(workers: int, threads: int) -> None:
    dump = planned(form=PLAIN, workers=workers)[0]
    assert (dump.compress, dump.compress_threads) == (True, threads)


@pytest.mark.parametrize(
    ("database", "form", "name"),
    [
        ("shop", CUSTOM, "shop.dump"),
        ("shop", PLAIN, "shop.sql"),
        ("Größe & Co", CUSTOM, "groe-co.dump"),
        ("globals", PLAIN, "globals-dump.sql"),
        ("database", PLAIN, "database-dump.sql"),
    ],
)
def test_no_name_of_a_database_makes_two_parts_one(database: str, form: str, name: str) -> None:
    names = [part.name for part in planned(form=form, database=database)]
    assert names == [name, "globals.sql", "database.sql"]


def test_the_dump_knows_its_tables_by_their_true_names() -> None:
    plan = planned(table(7, 'a "b"\nc', ancestors=2), table(8, "far", is_foreign=True))[0]
    (listed,) = pg_dump_archive.tables_in(kept(plan))
    assert listed.oid == 7
    assert listed.relations == (
        Relation(schema="Wei.rd", name='a "b"\nc'),
        Relation(schema="public", name="above 0"),
        Relation(schema="public", name="above 1"),
    )


def kept(plan: PartPlan) -> Part:
    return replace(bare_part(plan.name, PartKind.ARCHIVE), details=plan.details)


def tool(major: int = 17) -> Tool:
    return Tool(path=Path("/usr/bin/pg_dump"), version=f"{major}.1", major=major)


@pytest.mark.parametrize(
    ("codec", "level", "major", "option"),
    [
        (Codec.ZSTD, 3, 17, "--compress=zstd:3"),
        (Codec.ZSTD, 19, 16, "--compress=zstd:6"),
        (Codec.ZSTD, 3, 15, "--compress=3"),
        (Codec.GZIP, 9, 17, "--compress=6"),
        (Codec.GZIP, 1, 15, "--compress=1"),
        (Codec.NONE, 0, 17, "--compress=0"),
    ],
)
def test_the_level_is_capped_and_zstd_is_taken_where_pg_dump_knows_it(
    codec: Codec, level: int, major: int, option: str
) -> None:
    assert Compression(codec=codec, level=level).option(tool(major)) == option


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        ("custom", ["--format=custom", "--compress=zstd:3"]),
        ("plain", ["--format=plain", "--compress=0"]),
    ],
)
def test_pg_dump_joins_the_snapshot_and_is_told_no_password(form: str, shape: list[str]) -> None:
    login = Login.parse("dbname=shop", password="the-s3cret", application_name="holdfast")
    argv = pg_dump_archive.arguments(
        tool(),
        login,
        form=form,
        snapshot="0003-1",
        compression=Compression(codec=Codec.ZSTD, level=3),
    )
    assert argv[2:4] == shape
    assert "--snapshot=0003-1" in argv
    assert "the-s3cret" not in " ".join(argv)
    assert login.environment()["PGPASSWORD"] == "the-s3cret"
