"""Steps of tables: which need which, in which order, and what a failure ends."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial

import pytest

from holdfast.model.backup import Member, Part, Relation
from holdfast.sources.mysql.restore.scripts import Batch
from holdfast.sources.mysql.restore.table_steps import Step, Work, carry_out, table_steps
from holdfast.sources.mysql.server.sql import Item
from tests.support.manifests import part

MIB = 1 << 20


def relation(name: str) -> Relation:
    return Relation(schema="shop", name=name)


def rows(name: str, mebibytes: int) -> Part:
    return replace(part(), name=name, relation=relation(name), plain_bytes=mebibytes * MIB)


def pack(name: str, *tables: str) -> Part:
    members = tuple(
        Member(relation=relation(each), rows=1, offset=0, plain_bytes=9) for each in tables
    )
    return replace(part(), name=name, relation=None, members=members, plain_bytes=100)


def table(name: str, sql: bytes = b"CREATE TABLE x (y int)") -> Item:
    return Item(kind="table", name=name, table=name, sql=sql)


def index(name: str) -> Item:
    return Item(kind="indexes", name=name, table=name, sql=b"ALTER TABLE x ADD KEY (y)")


class Done:
    """What was done, in order."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.work = Work(create=self._create, load=self._load, build=self._build)

    def _create(self, batch: Batch) -> None:
        self.seen.append("create " + " ".join(item.name for item in batch))

    def _load(self, loaded: Part) -> None:
        self.seen.append(f"load {loaded.name}")

    def _build(self, item: Item) -> None:
        self.seen.append(f"build {item.name}")


TABLES = [table(name) for name in ("a", "big", "huge", "large", "z")]
ROWS = [pack("pack", "a", "z"), rows("large", 2), rows("huge", 9), rows("big", 5)]
INDEXES = [index("huge"), index("big"), index("large")]


def planned(
    tables: list[Item] = TABLES, parts: list[Part] = ROWS, *, workers: int = 2
) -> tuple[list[Step], Done]:
    done = Done()
    return table_steps(tables, parts, INDEXES, work=done.work, workers=workers), done


def test_biggest_tables_are_filled_first_and_then_indexes_and_rows_alternate() -> None:
    found, done = planned()
    carry_out(found, workers=1, stop=lambda: None)
    assert done.seen == [
        "create big huge",
        "load huge",
        "create a large z",
        "load big",
        "build huge",
        "load large",
        "build big",
        "load pack",
        "build large",
    ]


def test_rows_and_indexes_wait_for_their_own_table_only() -> None:
    found, _ = planned()
    assert {step.name: sorted(step.needs) for step in found} == {
        "tables 1": [],
        "rows huge": ["tables 1"],
        "tables 2": ["tables 1"],
        "rows big": ["tables 1"],
        "indexes huge": ["rows huge"],
        "rows large": ["tables 1", "tables 2"],
        "indexes big": ["rows big"],
        "rows pack": ["tables 1", "tables 2"],
        "indexes large": ["rows large"],
    }


def test_an_index_waits_for_rows_that_come_later_in_the_list() -> None:
    found, done = planned(parts=[*ROWS, rows("a", 3)])
    indexes = [index("a"), *INDEXES]
    found = table_steps(TABLES, [*ROWS, rows("a", 3)], indexes, work=done.work, workers=1)
    carry_out(found, workers=1, stop=lambda: None)
    assert done.seen.index("load a") < done.seen.index("build a")


def test_all_rows_wait_for_tables_with_foreign_keys() -> None:
    """The server locks the tables that they refer to."""
    refers = table("child", b"CREATE TABLE x (y int REFERENCES big (y))")
    found, _ = planned([*TABLES, refers])
    creations = [step.name for step in found if step.name.startswith("tables")]
    assert [step.name for step in found][: len(creations)] == creations
    for step in found:
        if step.name.startswith("rows"):
            assert sorted(step.needs) == creations


def test_the_rows_of_small_tables_alone_wait_for_all_tables() -> None:
    found, done = planned(parts=ROWS[:1])
    carry_out(found, workers=1, stop=lambda: None)
    assert done.seen[:3] == ["create a huge z", "create big large", "load pack"]


def test_every_part_is_loaded_once_also_where_a_pack_is_bigger_than_a_table() -> None:
    big_pack = replace(pack("pack", "a", "z"), plain_bytes=16 * MIB)
    for workers in (1, 2, 3):
        found, done = planned(parts=[big_pack, *ROWS[1:]], workers=workers)
        carry_out(found, workers=1, stop=lambda: None)
        loaded = sorted(each for each in done.seen if each.startswith("load"))
        assert loaded == ["load big", "load huge", "load large", "load pack"]


def test_a_failure_ends_what_is_done_and_begins_nothing_more() -> None:
    begun, stopped, seen = threading.Event(), threading.Event(), list[str]()

    def fail() -> None:
        assert begun.wait(60)
        raise ValueError("no space")

    def work() -> None:
        begun.set()
        assert stopped.wait(60)

    nothing = frozenset[str]()
    found = [
        Step(name="fails", needs=nothing, run=fail),
        Step(name="works", needs=nothing, run=work),
        Step(name="free", needs=nothing, run=partial(seen.append, "free")),
        Step(name="waits", needs=frozenset(("fails",)), run=partial(seen.append, "waits")),
    ]
    with pytest.raises(ValueError, match="no space"):
        carry_out(found, workers=2, stop=stopped.set)
    assert stopped.is_set()
    assert seen == []
