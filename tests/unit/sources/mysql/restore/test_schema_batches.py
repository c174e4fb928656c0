"""Which objects of a script are made side by side, and which of them an error is about."""

from __future__ import annotations

import pytest

from holdfast.model.backup import PartKind
from holdfast.model.proven import Proven
from holdfast.sources.mysql.restore.schema_batches import Batch, SchemaBatch, stages
from holdfast.sources.mysql.server.script import Item

WHOLE = Proven(lambda: iter([]))
HEAD = b"SET a;\nSET b;\n"


def table(name: str, *, refers: bool = False) -> Item:
    key = b",\n  FOREIGN KEY (x) REFERENCES other (x)" if refers else b""
    sql = b"CREATE TABLE " + name.encode() + b" (\n  x int" + key + b"\n);\n"
    return Item(kind="table", name=name, table=name, sql=sql)


def names(found: list[list[Batch]]) -> list[list[list[str]]]:
    return [[[item.name for item in batch] for batch in turn] for turn in found]


def test_sequences_come_before_all_tables_and_tables_that_refer_to_others_after() -> None:
    found = [
        Item(kind="sequence", name="s", table="s", sql=b"CREATE SEQUENCE s;\n"),
        table("a"),
        table("b", refers=True),
        table("c"),
        table("d"),
    ]
    turns = names(stages(PartKind.PRE_DATA, found, workers=2))
    assert turns == [[["s"]], [["a", "d"], ["c"]], [["b"]]]


def test_no_client_is_started_for_nothing() -> None:
    assert names(stages(PartKind.PRE_DATA, [table("a")], workers=8)) == [[["a"]]]


def test_a_script_without_objects_is_carried_out_all_the_same() -> None:
    (((batch,),),) = (stages(PartKind.PRE_DATA, [], workers=2),)
    assert list(SchemaBatch(WHOLE, b"CREATE TABLE x (y int);\n", batch).proven) == [
        b"CREATE TABLE x (y int);\n"
    ]


def test_views_and_programs_keep_their_order_and_indexes_are_built_each_by_itself() -> None:
    found = [Item(kind="view", name=name, sql=b"x;\n") for name in "cab"]
    assert names(stages(PartKind.POST_DATA, found, workers=2)) == [[["c", "a", "b"]]]
    assert names(stages(PartKind.INDEXES, found, workers=2)) == [[["c"], ["a"], ["b"]]]


@pytest.mark.parametrize(
    ("line", "what"),
    [(1, ""), (3, "table 'a'"), (5, "table 'a'"), (6, "the indexes of table 'a'"), (7, "view 'v'")],
)
def test_an_error_names_the_object_whose_line_it_is_at(line: int, what: str) -> None:
    indexes = Item(kind="indexes", name="a", table="a", sql=b"ALTER TABLE a ADD KEY (x);\n")
    made = SchemaBatch(WHOLE, HEAD, [table("a"), indexes, Item(kind="view", name="v", sql=b"x;\n")])
    assert b"".join(made.proven).startswith(HEAD + b"CREATE TABLE a")
    item, _ = made.failed_item(f"ERROR 1071 (42000) at line {line}: Specified key was too long")
    assert (item.described if item else "") == what


def test_what_comes_after_a_failure_is_known_so_that_a_restore_can_go_on() -> None:
    batch = [Item(kind="view", name=name, sql=b"x;\n") for name in "abc"]
    made = SchemaBatch(WHOLE, HEAD, batch)
    assert b"".join(made.proven).endswith(b"x;\nx;\nx;\n")
    item, rest = made.failed_item("ERROR 1146 (42S02) at line 4: no such table")
    assert item == batch[1]
    assert list(rest) == [batch[2]]
