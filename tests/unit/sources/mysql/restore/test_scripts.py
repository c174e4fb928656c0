"""The input of a client: lines of a dump, tables of a pack, objects and their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from holdfast.model.backup import Member, Relation
from holdfast.model.errors import RestoreFailed
from holdfast.model.restore import Proven
from holdfast.sources.mysql.restore.scripts import (
    BEGIN,
    BEGIN_LATER,
    END,
    TRANSACTION_BYTES,
    Batch,
    DumpScript,
    RowScript,
    SchemaBatch,
    Turns,
)
from holdfast.sources.mysql.server.sql import Item
from tests.support.manifests import part

MODE = b"/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;\n"
DUMP = (
    b"-- Host: localhost    Database: sh`op\n"
    + MODE
    + b"CREATE TABLE `t` (\n"
    + b"  `a` int DEFAULT nextval(`sh``op`.`s`) COMMENT 'nextval(`sh``op`.`s`)'\n"
    + b") ENGINE=InnoDB;\n"
    + b"/*!50001 VIEW `v` AS select `sh``op`.`t`.`a` AS `a` from (`sh``op`.`t` join `x`.`y`) */;\n"
    + b"INSERT INTO `t` VALUES ('ALTER DATABASE `x` CHARACTER SET a COLLATE b ;');\n"
    + b"INSERT INTO `t` VALUES ('"
    + b"x" * 5000
    + b"\\nDELIMITER ;;');\n"
    + b"ALTER DATABASE `sh``op` CHARACTER SET latin1 COLLATE latin1_swedish_ci ;\n"
    + b"DELIMITER ;;\n"
    + b"CREATE PROCEDURE `p`()\nBEGIN\n"
    + b"CREATE TABLE `u` (\n  `b` int DEFAULT nextval(`sh``op`.`s`));\n"
    + b"ALTER DATABASE `mine` CHARACTER SET latin1 COLLATE latin1_bin ;\nEND ;;\n"
    + b"ALTER DATABASE `sh``op` CHARACTER SET latin1 COLLATE latin1_swedish_ci ;;\n"
    + b"DELIMITER ;\n"
    + b"ALTER DATABASE `sh``op` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci ;"
)
WANTED = DUMP
for was, becomes in (
    (b"ON_ZERO'", b"ON_ZERO,ALLOW_INVALID_DATES'"),
    (b"DATABASE `sh``op` ", b"DATABASE "),
    (b"`a` int DEFAULT nextval(`sh``op`.", b"`a` int DEFAULT nextval("),
    (b"select `sh``op`.", b"select "),
    (b"from (`sh``op`.", b"from ("),
):
    WANTED = WANTED.replace(was, becomes)


@pytest.mark.parametrize("size", [1, 7, 100, 1024, 4096, 1 << 20])
def test_only_the_lines_of_the_program_itself_change_however_they_come(size: int) -> None:
    chunks = [DUMP[start : start + size] for start in range(0, len(DUMP), size)]
    assert b"".join(DumpScript().changed(chunks)) == WANTED


def test_bytes_that_are_no_script_pass() -> None:
    noise = bytes(range(256)) * 100 + b"\n\n\n"
    assert b"".join(DumpScript().changed([noise[:7000], b"", noise[7000:]])) == noise


HEAD = b"SET a;\nSET b;\n"
TABLES = {"one": b"-- one\nINSERT 1,\n2;\nINSERT 3;\n", "two": b"-- two\n", "three": b"INSERT 4;\n"}
SENT: dict[str, list[bytes]] = {
    "one": [b"INSERT 1,\n2", b"INSERT 3"],
    "two": [],
    "three": [b"INSERT 4"],
}


def relation(name: str) -> Relation:
    return Relation(schema="shop", name=name)


def cut(*wanted: str, chunk_bytes: int = 5) -> list[tuple[Relation | None, bytes]]:
    members, offset = [], len(HEAD)
    for name, sql in TABLES.items():
        members.append(Member(relation=relation(name), rows=1, offset=offset, plain_bytes=len(sql)))
        offset += len(sql)
    packed = replace(part(), relation=None, members=tuple(members))
    text = HEAD + b"".join(TABLES.values())
    chunks = (text[at : at + chunk_bytes] for at in range(0, len(text), chunk_bytes))
    return list(RowScript(packed, [relation(name) for name in wanted]).cut(chunks))


@pytest.mark.parametrize("wanted", [(), ("one",), ("two",), ("three",), ("one", "three")])
def test_a_pack_is_one_transaction_of_the_tables_that_were_asked_for(
    wanted: tuple[str, ...],
) -> None:
    rows = [(relation(name), sql) for name in wanted or TABLES for sql in SENT[name]]
    before = [(None, sql) for sql in (b"SET a", b"SET b", BEGIN)]
    assert cut(*wanted) == [*before, *rows, (relation((wanted or (*TABLES,))[-1]), END)]


def test_a_statement_that_reaches_into_the_next_table_is_refused() -> None:
    whole = b"INSERT 1;\n"
    members = [
        Member(relation=relation("a"), rows=1, offset=0, plain_bytes=len(whole) - 1),
        Member(relation=relation("b"), rows=1, offset=len(whole) - 1, plain_bytes=1),
    ]
    packed = replace(part(), relation=None, members=tuple(members))
    with pytest.raises(RestoreFailed, match="it ends within a statement"):
        list(RowScript(packed).cut(iter([whole])))


def test_all_statements_of_a_table_alone_belong_to_it() -> None:
    alone = part()
    found = list(RowScript(alone).cut(iter([HEAD, TABLES["one"]])))
    assert found == [(alone.relation, sql) for sql in (b"SET a", b"SET b", *SENT["one"])]


def test_the_first_rows_of_a_table_are_committed_alone_and_later_ones_by_their_size() -> None:
    """MariaDB sorts all that a transaction writes into a table that was empty."""
    rows = b"INSERT INTO `t` (`a`) VALUES\n" + b",\n".join([b"(1)"] * 400_000)
    assert 4 * len(rows) < TRANSACTION_BYTES < 5 * len(rows)
    script = HEAD + (rows + b";\n") * 12
    sent = [sql for _, sql in RowScript(part()).cut(iter([script]))]
    later = [*[rows] * 5, END]
    assert sent == [b"SET a", b"SET b", rows, BEGIN_LATER, *later, *later, rows, END]


def test_a_table_without_rows_needs_no_transaction() -> None:
    assert [sql for _, sql in RowScript(part()).cut(iter([HEAD]))] == [b"SET a", b"SET b"]


NOTHING = Proven(lambda: iter([]))
SETTINGS = b"SET a;\nSET b;\n"


def table(name: str, *, refers: bool = False) -> Item:
    key = b",\n  FOREIGN KEY (x) REFERENCES other (x)" if refers else b""
    sql = b"CREATE TABLE " + name.encode() + b" (\n  x int" + key + b"\n);\n"
    return Item(kind="table", name=name, table=name, sql=sql)


def names(turns: Sequence[Sequence[Batch]]) -> list[list[list[str]]]:
    return [[[item.name for item in batch] for batch in turn] for turn in turns]


SEQUENCE = Item(kind="sequence", name="s", table="s", sql=b"CREATE SEQUENCE s;\n")


def test_sequences_come_before_all_tables_and_tables_that_refer_to_others_after() -> None:
    found = [SEQUENCE, table("a"), table("b", refers=True), table("c"), table("d")]
    for first in ((), ("a",)):
        turns = Turns.of(found, first=first, workers=2)
        assert names(turns.before_rows) == [[["s"]], [["a", "d"], ["c"]], [["b"]]]
        assert not turns.beside_rows


def test_the_first_tables_are_created_apart_so_that_their_rows_need_not_wait() -> None:
    found = [SEQUENCE, *map(table, "abcd")]
    turns = Turns.of(found, first=("b", "c"), workers=3)
    assert names(turns.before_rows) == [[["s"]], [["b", "c"]]]
    assert names(turns.beside_rows) == [[["a"], ["d"]]]


def test_no_client_is_started_for_nothing() -> None:
    turns = Turns.of([table("a")], first=(), workers=8)
    assert names(turns.before_rows) == [[["a"]]]
    alone = Turns.of([table("a")], first=("a",), workers=8)
    assert (names(alone.before_rows), alone.beside_rows) == ([[["a"]]], [])


def test_a_script_without_objects_is_run_too() -> None:
    (((batch,),),) = (Turns.of([], first=(), workers=2).before_rows,)
    assert list(SchemaBatch(NOTHING, b"CREATE TABLE x (y int);\n", batch).proven) == [
        b"CREATE TABLE x (y int);\n"
    ]


@pytest.mark.parametrize(
    ("line", "what"),
    [(1, ""), (3, "table 'a'"), (5, "table 'a'"), (6, "the indexes of table 'a'"), (7, "view 'v'")],
)
def test_an_error_names_the_object_whose_line_it_is_at(line: int, what: str) -> None:
    indexes = Item(kind="indexes", name="a", table="a", sql=b"ALTER TABLE a ADD KEY (x);\n")
    made = SchemaBatch(
        NOTHING, SETTINGS, [table("a"), indexes, Item(kind="view", name="v", sql=b"x;\n")]
    )
    assert b"".join(made.proven).startswith(SETTINGS + b"CREATE TABLE a")
    item, _ = made.failed_item(f"ERROR 1071 (42000) at line {line}: Specified key was too long")
    assert (item.described if item else "") == what


def test_what_comes_after_a_failure_is_known_so_that_a_restore_can_go_on() -> None:
    batch = [Item(kind="view", name=name, sql=b"x;\n") for name in "abc"]
    made = SchemaBatch(NOTHING, SETTINGS, batch)
    assert b"".join(made.proven).endswith(b"x;\nx;\nx;\n")
    item, rest = made.failed_item("ERROR 1146 (42S02) at line 4: no such table")
    assert item == batch[1]
    assert list(rest) == [batch[2]]
