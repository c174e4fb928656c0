"""Which tables get a checksum, how parts add up, and the report of a difference."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from holdfast.model import checksums
from holdfast.model.backup import Codec, Member, Part, PartKind, Relation
from holdfast.model.checksums import SMALL_DATABASE_BYTES, added, chosen, expected, require_equal
from holdfast.model.errors import RestoreFailed
from holdfast.model.restore import RestoredTable

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def relation(name: str) -> Relation:
    return Relation(schema="shop", name=name)


def part(name: str, *, rows: int, checksum: str, members: tuple[Member, ...] = ()) -> Part:
    return Part(
        name=name,
        key=name,
        kind=PartKind.DATA,
        relation=None if members else relation("orders"),
        rows=rows,
        plain_bytes=1,
        plain_fingerprint="",
        stored_bytes=1,
        stored_fingerprint="",
        codec=Codec.NONE,
        encryption="none",
        seconds=0.0,
        members=members,
        checksum=checksum,
    )


def test_every_table_of_a_small_database_gets_a_checksum() -> None:
    sizes = {relation("a"): SMALL_DATABASE_BYTES // 2, relation("b"): 1}
    found = chosen(sizes, "auto")
    assert found.tables == frozenset(sizes)
    assert str(found) == "checksums of 2 of 2 tables"


def test_of_a_large_database_the_smallest_tables_that_are_a_tenth_of_it() -> None:
    sizes = {relation(str(number)): number * SMALL_DATABASE_BYTES for number in range(1, 21)}
    found = chosen(sizes, "auto")
    assert {each.name for each in found.tables} == {"1", "2", "3", "4", "5", "6"}
    assert sum(sizes[each] for each in found.tables) <= sum(sizes.values()) // 10
    assert "checksums: true covers all tables" in str(found)


def test_a_table_that_turns_out_larger_than_the_server_guessed_gets_none() -> None:
    found = chosen({relation("a"): 1}, "auto")
    assert found.covers(relation("a"), size_bytes=SMALL_DATABASE_BYTES)
    assert not found.covers(relation("a"), size_bytes=100 * SMALL_DATABASE_BYTES)
    assert chosen({relation("a"): 1}, "all").covers(relation("a"), size_bytes=1 << 50)


@pytest.mark.parametrize(("policy", "count"), [("all", 3), ("none", 0)])
def test_all_or_none_means_what_it_says(policy: checksums.Policy, count: int) -> None:
    sizes = {relation(name): 1 << 40 for name in "abc"}
    found = chosen(sizes, policy)
    assert len(found.tables) == count
    assert str(found) == f"checksums of {count} of 3 tables"


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (["m/1:5"], "m/1:5"),
        (["m/1:5", "m/1:7"], "m/1:12"),
        (["m/1:5", ""], ""),
        (["m/1:5", "m/2:7"], ""),
        (["m/1:five"], ""),
        (["m/1:" + "9" * 5000], ""),
        ([], ""),
    ],
)
def test_checksums_of_the_parts_of_a_table_add_up(parts: list[str], whole: str) -> None:
    assert added(parts) == whole


def test_what_a_table_must_hold_is_gathered_from_its_ranges_and_from_packs() -> None:
    packed = Member(relation=relation("tags"), rows=3, offset=0, plain_bytes=1, checksum="m/1:9")
    found = expected(
        [
            part("one", rows=2, checksum="m/1:1"),
            part("two", rows=4, checksum="m/1:2"),
            part("pack", rows=3, checksum="", members=(packed,)),
        ]
    )
    assert found[relation("orders")] == checksums.Expected(rows=6, checksum="m/1:3")
    assert found[relation("tags")] == checksums.Expected(rows=3, checksum="m/1:9")


def restored(name: str, *, rows: int = 2, checksum: str = "m/1:5") -> RestoredTable:
    return RestoredTable(
        relation=relation(name),
        rows_expected=2,
        rows_found=rows,
        checksum_expected="m/1:5",
        checksum_found=checksum,
    )


def test_a_table_with_other_rows_or_other_values_fails_the_restore_by_its_name() -> None:
    require_equal("here", [restored("right")])
    with pytest.raises(RestoreFailed) as failure:
        require_equal(
            "here",
            [restored("right"), restored("fewer", rows=1), restored("other", checksum="m/1:6")],
        )
    assert failure.value.message == (
        "cannot restore into 'here': 'shop.fewer' has 1 rows instead of 2, "
        "'shop.other' holds other values than were backed up (its checksum differs)"
    )
