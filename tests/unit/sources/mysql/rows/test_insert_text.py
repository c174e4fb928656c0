from __future__ import annotations

import re
import sqlite3

import pytest
from hypothesis import given, settings, strategies as st

from holdfast.model.backup import Relation
from holdfast.model.errors import BackupFailed
from holdfast.sources.mysql.rows.insert_text import (
    MOST_RANGES_SKIPPED,
    BareRows,
    Limits,
    Luck,
    RowsText,
    counts,
    is_true,
    long_row,
    mark,
    statement,
)
from holdfast.sources.mysql.server.columns import Column
from holdfast.sources.mysql.server.tables import Table

TABLE = Table(
    relation=Relation(schema="s", name="a`b\n; --"),
    kind="BASE TABLE",
    engine="InnoDB",
    columns=(
        Column(name="id", data_type="int", nullable=False),
        Column(name="body", data_type="longblob"),
    ),
    key=None,
    rows=0,
    row_bytes=0,
    data_bytes=0,
)
TOO_LARGE = "max_allowed_packet is too small for a value of 5 bytes"
LIMITS = Limits(statement_bytes=100, longest_bytes=100, piece_bytes=2)


def test_carriage_returns_survive_clients_that_would_drop_them() -> None:
    assert statement(TABLE, RowsText.of(b"(1,'a\r\nb')")) == (
        b"INSERT INTO `a``b\n; --` (`id`,`body`) VALUES\n(1,'a\\r\nb');\n"
    )


def test_no_name_of_a_table_can_leave_the_comment_that_it_stands_in() -> None:
    assert mark(TABLE) == b'-- holdfast: rows of table "a`b\\n; --"\n'


CHECK = f"IF(LENGTH(@holdfast_1) <=> 5, @@SESSION.lc_time_names, '{TOO_LARGE}')"


def test_a_long_value_is_gathered_piece_by_piece() -> None:
    batches = list(long_row(TABLE, (b"7", b"\x00\x01\x02\x03\x04"), LIMITS))
    assert [batch.rows for batch in batches] == [0, 0, 0, 0, 1]
    assert b"".join(batch.sql for batch in batches).decode().splitlines() == [
        "SET @holdfast_1 = x'0001';",
        "SET @holdfast_1 = CONCAT(@holdfast_1, x'0203');",
        "SET @holdfast_1 = CONCAT(@holdfast_1, x'04');",
        f"SET SESSION lc_time_names = {CHECK};",
        "INSERT INTO `a``b",
        "; --` (`id`,`body`) VALUES",
        "(7,@holdfast_1);",
    ]


def test_a_long_row_keeps_null_apart_from_nothing() -> None:
    (empty,) = [b.sql for b in long_row(TABLE, (b"1", None), LIMITS)]
    assert empty.endswith(b"(1,NULL);\n")
    first, *_ = [b.sql for b in long_row(TABLE, (b"1", b""), LIMITS)]
    assert first == b"SET @holdfast_1 = x'';\n"


def test_a_value_that_the_server_left_out_is_an_error() -> None:
    with pytest.raises(BackupFailed, match="left out a value"):
        list(long_row(TABLE, (None, b""), LIMITS))


ID = Column(name="id", data_type="int", nullable=False)
NAME = Column(name="name", data_type="varchar", charset="utf8mb4", nullable=False)
NOTE = Column(name="note", data_type="text", charset="latin1")
PICTURE = Column(name="picture", data_type="blob")
COLUMNS = (ID, NAME, NOTE)


def whole(made: BareRows, value: bytes) -> bytes:
    return b"".join(made.whole(RowsText.of(value)).pieces())


def test_text_between_columns_is_one_argument() -> None:
    made = BareRows.of((ID, NAME, ID))
    wanted = "GROUP_CONCAT(`id`,',''',`name`,''',',`id` SEPARATOR '),\n(')"
    assert made.expression == wanted
    assert whole(made, b"1,'a',2") == b"(1,'a',2)"


def test_text_between_rows_is_the_separator() -> None:
    made = BareRows.of((NAME,))
    assert made.expression == "GROUP_CONCAT(`name` SEPARATOR '''),\n(''')"
    assert whole(made, b"a'),\n('b") == b"('a'),\n('b')"


def test_what_may_be_missing_is_counted_where_it_stands_between_quotes() -> None:
    text = "IFNULL(CONCAT('''',CONVERT(`note` USING utf8mb4),''''),'NULL')"
    assert BareRows.of((NOTE,)).expression == f"GROUP_CONCAT({text} SEPARATOR '),\n(')"
    assert counts((ID, NAME, NOTE, PICTURE)) == ["COUNT(`note`)", "COUNT(`picture`)"]


def escaped(value: str | None) -> str:
    """As QUOTE writes it."""
    if value is None:
        return "NULL"
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


words = st.text(alphabet="ab',()\\N\n", max_size=6)


# No deadline, as the load of the machine does not matter here.
@settings(deadline=None)
@given(rows=st.lists(st.tuples(words, st.none() | words), min_size=1, max_size=4))
def test_bare_text_is_believed_exactly_when_escaping_would_change_nothing(
    rows: list[tuple[str, str | None]],
) -> None:
    def bare(value: str | None) -> str:
        return "NULL" if value is None else f"'{value}'"

    text = ",\n".join(f"(1,{bare(name)},{bare(note)})" for name, note in rows)
    careful = ",\n".join(f"(1,{escaped(name)},{escaped(note)})" for name, note in rows)
    counted = [sum(note is not None for _, note in rows)]
    believed = is_true(RowsText.of(text.encode()), rows=len(rows), counted=counted, columns=COLUMNS)
    assert believed == (text == careful)


# Deadlines would depend on the load of the machine.
@settings(deadline=None)
@given(beside=st.binary(max_size=4), name=words)
def test_what_lies_beside_the_text_in_its_packet_does_not_count(beside: bytes, name: str) -> None:
    value = name.encode()
    packet = beside + value + beside
    text = RowsText(packet, len(beside), len(beside) + len(value), opens=b"('", closes=b"')")
    believed = is_true(text, rows=1, counted=[], columns=(NAME,))
    assert believed == (f"'{name}'" == escaped(name))
    if believed:
        assert statement(TABLE, text).endswith(b"('" + value + b"');\n")


def test_text_of_bytes_that_are_no_character_is_never_believed() -> None:
    code = Column(name="code", data_type="varchar", charset="ascii", nullable=False)
    pieces = "CAST(`code` AS BINARY),''',''',`name`"
    assert BareRows.of((code, NAME)).expression.startswith(f"GROUP_CONCAT({pieces} SEPARATOR ")
    columns = (code, NAME)
    assert is_true(RowsText.of(b"('a','b')"), rows=1, counted=[], columns=columns)
    assert not is_true(RowsText.of(b"('\xfe','b')"), rows=1, counted=[], columns=columns)
    assert not is_true(RowsText.of("('a','ö')".encode()), rows=1, counted=[], columns=columns)
    assert is_true(RowsText.of("('a','ö')".encode()), rows=1, counted=[], columns=(NAME, NAME))


def test_the_arguments_are_expressions_that_a_server_understands() -> None:
    made = BareRows.of((ID, NAME))
    pieces, _, separator = made.expression.removeprefix("GROUP_CONCAT(").partition(" SEPARATOR ")
    pieces = "||".join(re.findall(r"`[^`]*`|'(?:[^']|'')*'", pieces))
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE t (id, name)")
        database.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
        question = f"SELECT GROUP_CONCAT({pieces},{separator} FROM t"
        ((text,),) = database.execute(question)
    assert whole(made, text.encode()) == b"(1,'a'),\n(2,'b')"


def test_after_a_failure_tries_become_rarer_and_one_success_ends_that() -> None:
    luck = Luck()
    tried = []
    for _ in range(200):
        tried.append(luck.try_next())
        if tried[-1]:
            luck.learn(was_true=False)
    assert [number for number, try_now in enumerate(tried) if try_now][:5] == [0, 2, 5, 10, 19]
    assert sum(tried) < 10
    for _ in range(MOST_RANGES_SKIPPED):
        if luck.try_next():
            luck.learn(was_true=True)
    assert luck.try_next()
