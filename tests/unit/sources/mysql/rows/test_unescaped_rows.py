"""Rows without escaping, and how it is known that none was needed."""

from __future__ import annotations

import sqlite3

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.sources.mysql.rows.unescaped_rows import (
    MOST_RANGES_SKIPPED,
    Luck,
    arguments,
    counts,
    is_true,
)
from holdfast.sources.mysql.server.columns import Column

ID = Column(name="id", data_type="int", nullable=False)
NAME = Column(name="name", data_type="varchar", charset="utf8mb4", nullable=False)
NOTE = Column(name="note", data_type="text", charset="latin1")
PICTURE = Column(name="picture", data_type="blob")
COLUMNS = (ID, NAME, NOTE)


def test_text_between_columns_is_one_argument() -> None:
    assert arguments((ID, NAME, ID)) == "'(',`id`,',''',`name`,''',',`id`,')'"


def test_what_may_be_missing_is_counted_where_it_stands_between_quotes() -> None:
    assert arguments((NOTE,)) == (
        "'(',IFNULL(CONCAT('''',CONVERT(`note` USING utf8mb4),''''),'NULL'),')'"
    )
    assert counts((ID, NAME, NOTE, PICTURE)) == ["COUNT(`note`)", "COUNT(`picture`)"]


def escaped(value: str | None) -> str:
    """As QUOTE writes it."""
    if value is None:
        return "NULL"
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


words = st.text(alphabet="ab',()\\N\n", max_size=6)


# No deadline: how busy the machine is says nothing about quotes.
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
    believed = is_true(text.encode(), rows=len(rows), counted=counted, columns=COLUMNS)
    assert believed == (text == careful)


def test_text_of_bytes_that_are_no_character_is_never_believed() -> None:
    code = Column(name="code", data_type="varchar", charset="ascii", nullable=False)
    assert arguments((code, NAME)) == "'(''',CAST(`code` AS BINARY),''',''',`name`,''')'"
    columns = (code, NAME)
    assert is_true(b"('a','b')", rows=1, counted=[], columns=columns)
    assert not is_true(b"('\xfe','b')", rows=1, counted=[], columns=columns)
    assert not is_true("('a','ö')".encode(), rows=1, counted=[], columns=columns)
    assert is_true("('a','ö')".encode(), rows=1, counted=[], columns=(NAME, NAME))


def test_the_arguments_are_expressions_that_a_server_understands() -> None:
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE t (id, name)")
        database.execute("INSERT INTO t VALUES (1, 'a')")
        pieces = arguments((ID, NAME)).replace(",`", "||`").replace("`,", "`||")
        ((text,),) = database.execute(f"SELECT {pieces} FROM t")
    assert text == "(1,'a')"


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
