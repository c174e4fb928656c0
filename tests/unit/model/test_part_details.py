"""What a restore needs of a part's details is told by name where it is not there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from holdfast.model.backup import Member, Part, Relation
from holdfast.model.errors import VerifyFailed
from holdfast.model.part_details import Details
from holdfast.sources.postgres.dump.pg_dump_archive import TABLES, tables_in
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
    return replace(part("data/00001-orders.copy"), details=details)


def test_details_as_they_are_written_make_the_table_again() -> None:
    found = TablePart.of(of(GOOD))
    assert found.columns == ("id", "v")
    assert TablePart.of(of(found.details())) == found
    member = Member(
        relation=Relation(schema="public", name="t"), rows=1, offset=0, plain_bytes=1, details=GOOD
    )
    assert TablePart.of(member).external == found.external


@pytest.mark.parametrize("missing", ["format", "encoding", "columns", "blobs_in"])
def test_a_detail_that_is_missing_is_named_with_its_part(missing: str) -> None:
    wanting = {name: value for name, value in GOOD.items() if name != missing}
    with pytest.raises(VerifyFailed) as refused:
        TablePart.of(of(wanting))
    assert refused.value.message == (
        f"cannot trust part 'data/00001-orders.copy': in its details '{missing}' is missing"
    )


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
    with pytest.raises(VerifyFailed, match=f"'{name}'") as refused:
        TablePart.of(of(GOOD | {name: value}))
    assert len(refused.value.message) < 300


WRONG_TABLES = [
    "[1]",
    "[[1]]",
    '{"a": 1}',
    '[["1", "s", "t", []]]',
    '[[1, 2, "t", []]]',
    '[[1, "s", "t", [[1]]]]',
]


@pytest.mark.parametrize("listed", WRONG_TABLES)
def test_a_list_of_tables_that_is_none_is_refused(listed: str) -> None:
    with pytest.raises(VerifyFailed, match=f"'{TABLES}'"):
        tables_in(of({TABLES: listed}))


READ: list[Callable[[Details], object]] = [
    lambda details: details.text("x"),
    lambda details: details.word("x", of=("a",)),
    lambda details: details.matching("x", re.compile("a")),
    lambda details: details.number("x"),
    lambda details: details.octets("x"),
    lambda details: details.names("x"),
    lambda details: details.texts("x"),
    lambda details: details.json("x"),
]


@pytest.mark.parametrize("read", READ)
def test_every_kind_tells_what_is_missing(read: Callable[[Details], object]) -> None:
    with pytest.raises(VerifyFailed, match="'x' is missing"):
        read(Details(of({})))
