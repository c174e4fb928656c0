"""A part that lacks a detail that a restore needs is reported by name."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import fields, replace

import pytest

from holdfast.model.backup import Member, Part, Relation
from holdfast.model.errors import VerifyFailed
from holdfast.model.part_details import (
    KINDS,
    NOTHING,
    ClusterFile,
    ClusterLabel,
    CopiedRows,
    Details,
    MysqlDatabase,
    MysqlDump,
    MysqlGrants,
    MysqlServerFiles,
    MysqlTable,
    PostgresDump,
    PostgresSchema,
    PostgresTable,
    SecondCopy,
    TablePack,
    details_in,
    details_of_schema_1,
    stored_details,
)
from holdfast.model.stored_json import NotKnown, Unreadable
from holdfast.sources.postgres.dump.pg_dump_archive import tables_in
from holdfast.sources.postgres.server.table_part import TablePart
from tests.support.manifests import part

GOOD = {
    "format": "text",
    "encoding": "UTF8",
    "columns": json.dumps(["id", "v"]),
    "load_through": json.dumps(["public", "orders"]),
    "pages": "0-8",
    "blobs_in": json.dumps(["v"]),
    "blobs_from_bytes": "1048576",
    "blob_marker": "00ff",
}


def of(details: dict[str, str]) -> Part:
    return replace(part("data/00001-orders.copy"), details=details_of_schema_1(details))


def test_details_as_they_are_written_make_the_table_again() -> None:
    found = TablePart.of(of(GOOD))
    assert found.columns == ("id", "v")
    assert TablePart.of(replace(of(GOOD), details=found.details())) == found
    assert details_in(stored_details(found.details())) == found.details()
    member = Member(
        relation=Relation(schema="public", name="t"),
        rows=1,
        offset=0,
        plain_bytes=1,
        details=details_of_schema_1(GOOD),
    )
    assert TablePart.of(member).external == found.external


@pytest.mark.parametrize("missing", ["format", "encoding", "blobs_in"])
def test_a_detail_that_is_missing_is_named(missing: str) -> None:
    wanting = {name: value for name, value in GOOD.items() if name != missing}
    with pytest.raises(Unreadable, match=f"its '{missing}' is missing"):
        details_of_schema_1(wanting)
    with pytest.raises(Unreadable, match=f"its '{missing}' is missing"):
        details_in(wanting | {"kind": PostgresTable.kind})


def test_rows_of_which_nobody_says_how_they_are_read_are_refused() -> None:
    with pytest.raises(VerifyFailed, match="cannot trust rows of"):
        TablePart.of(of({"format": "text"}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", "text) ; DROP TABLE t; --"),
        ("columns", "[1]"),
        ("columns", '{"a": "b"}'),
        ("columns", "[" * 100_000),
        ("columns", '["\\ud800"]'),
        ("load_through", '["a"]'),
        ("load_through", "null"),
        ("pages", "-3--1"),
        ("pages", "5-3"),
        ("pages", "1_0-"),
        ("blobs_from_bytes", "-1"),
        ("blobs_from_bytes", "9" * 6000),
        ("blobs_from_bytes", "1e9"),
        ("blob_marker", "xy"),
    ],
)
def test_a_detail_that_nobody_writes_is_refused_by_its_name(name: str, value: str) -> None:
    wrong = GOOD | {name: value}
    for read in (details_of_schema_1, lambda texts: details_in(texts | {"kind": "postgres-table"})):
        with pytest.raises(Unreadable, match=f"'{name}'") as refused:
            read(wrong)
        assert len(str(refused.value)) < 300


WRONG_TABLES = [
    "[1]",
    "[[1]]",
    '{"a": 1}',
    '[["1", "s", "t", []]]',
    '[[1, 2, "t", []]]',
    '[[1, "s", "t", [[1]]]]',
]


DUMP = {"format": "custom", "creation": "{}", "pg_dump_major": "17"}


@pytest.mark.parametrize("listed", WRONG_TABLES)
def test_a_list_of_tables_that_is_none_is_refused(listed: str) -> None:
    with pytest.raises(VerifyFailed, match="'tables'"):
        tables_in(of(DUMP | {"tables": listed}))


WRONG: list[tuple[dict[str, str], str]] = [
    ({"path": "backup_label", "tablespaces": '{"../x": "/srv"}'}, "tablespaces"),
    ({"path": "backup_label", "tablespaces": '{"4294967296": "/srv"}'}, "tablespaces"),
    ({"path": "backup_label", "tablespaces": '{"16400": 1}'}, "tablespaces"),
    ({"path": "backup_label", "vanished": '[["a"]]'}, "vanished"),
    ({"path": "backup_label", "links": "[]"}, "links"),
    ({"path": "backup_label", "mode": "9"}, "mode"),
    ({"path": "base/5/1", "bytes": "x-y"}, "bytes"),
    ({"path": "base/5/1", "mode": "10000"}, "mode"),
    ({"character_set": "utf8; DROP", "collation": "c", "method": "m"}, "character_set"),
    ({"accounts": '[["a"]]'}, "accounts"),
    ({"accounts": '[["a", 1]]'}, "accounts"),
    ({"accounts": '{"a": "b"}'}, "accounts"),
    ({"creation": '["a"]'}, "creation"),
    ({"method": "mysqldump", "character_set": "a", "collation": "b", "format": "x"}, "format"),
    ({"format": "plain", "creation": "{}", "pg_dump_major": "x", "tables": "[]"}, "pg_dump_major"),
]


@pytest.mark.parametrize(("texts", "name"), WRONG)
def test_each_kind_of_part_tells_what_is_none_of_its_own(texts: dict[str, str], name: str) -> None:
    with pytest.raises(Unreadable, match=f"its '{name}' has the invalid value "):
        details_of_schema_1(texts)


@pytest.mark.parametrize("texts", [None, [], "x", {"path": 1}, {"path": ["a"]}, {"x": "y"}])
def test_what_is_no_facts_or_of_no_kind_is_refused(texts: object) -> None:
    with pytest.raises(Unreadable):
        details_of_schema_1(texts)
    with pytest.raises(Unreadable):
        details_in(texts)


def test_a_kind_that_a_newer_version_writes_is_told_as_that() -> None:
    with pytest.raises(NotKnown, match="facts of the unknown kind 'tomorrow'"):
        details_in({"kind": "tomorrow", "path": "x"})


def test_every_kind_is_read_back_as_it_was_written() -> None:
    label = ClusterLabel(tablespaces={"16400": "/srv"}, vanished=frozenset("ab"), mode=0o750)
    for each in (
        *(label, ClusterLabel(), ClusterFile(path="a\udc80b", mode=0o600, is_sparse=True)),
        *(SecondCopy(inside="basebackup.tar"), CopiedRows(format="binary"), NOTHING),
        *(TablePack(tables_sha256="ab", transport="wire"), MysqlTable(method="select")),
        MysqlGrants(accounts=(("a", "%"), ("b", "localhost"))),
        MysqlDatabase(character_set="utf8mb4", collation="utf8mb4_bin", longest_statement_bytes=1),
        MysqlDump(character_set="utf8mb4", collation="utf8mb4_bin", method="mysqldump"),
        MysqlServerFiles(server_version="11.8.6"),
        PostgresSchema(creation={"ENCODING": "UTF8"}, server_version_number=170002),
        PostgresDump(creation={}, format="plain", pg_dump_major=17, tables="[]"),
    ):
        assert details_in(stored_details(each)) == each
        assert details_of_schema_1(each.texts()) == each


def test_names_that_many_tables_have_are_held_once() -> None:
    first, second = (details_of_schema_1(GOOD | {"encoding": each}) for each in ("UTF8", "LATIN1"))
    assert isinstance(first, PostgresTable)
    assert isinstance(second, PostgresTable)
    assert first.columns is second.columns


SHAPES = [
    "",
    "1",
    "null",
    "true",
    "{}",
    "[]",
    "[1]",
    "[null]",
    "[[]]",
    '[["a"]]',
    '[["a", 1]]',
    "[{}]",
]
SHAPES += [
    '{"a": null}',
    '{"a": [1]}',
    '[["a", "b", "c"]]',
    '"text"',
    "1e400",
    "-",
    "\x00",
    "9" * 400,
]


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_a_text_of_any_shape_is_read_or_refused_and_nothing_else(kind: type[Details]) -> None:
    for name in [each.name for each in fields(kind)]:
        for shape in SHAPES:
            with suppress(Unreadable):
                kind.of({name: shape})


@pytest.mark.parametrize("accounts", ["[1]", "[null]", '["ab"]', '[["a"]]', '[["a", 1]]', "{}"])
def test_accounts_that_are_none_are_damage(accounts: str) -> None:
    with pytest.raises(Unreadable, match="'accounts'"):
        details_of_schema_1({"accounts": accounts, "statements": "1"})
