"""The rows of one table as INSERT statements, by the way of reading that suits it.

A table with a usable key is read range after range along it, many rows in one value. Any other one
comes as a single stream.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from holdfast.model.errors import BackupFailed
from holdfast.sources.mysql.rows import insert_text
from holdfast.sources.mysql.rows.insert_text import (
    Batch,
    Limits,
    Luck,
    long_row,
    present,
    raw_rows,
    statement,
)
from holdfast.sources.mysql.server.columns import WHOLE_NUMBERS, Column, raw_row, row_text
from holdfast.sources.mysql.server.connection import COLLATIONS_MIXED, StatementFailed, table_failed
from holdfast.sources.mysql.server.session import Row, Session
from holdfast.sources.mysql.server.sql import quoted, select
from holdfast.sources.mysql.server.tables import Key, Table

GROWTH = 4
# Rows of which nothing is known yet: text costs more bytes than InnoDB's own format.
TEXT_PER_STORED_BYTE = 2
SMALLEST_ROW_BYTES = 32
COUNTABLE = WHOLE_NUMBERS - {"decimal"}
# So many times the rows that were wanted may be in a step at most.
MOST_KEYS_PER_ROW = 3.0
Bound = tuple[str, ...]
# Hexadecimal doubles, quoting doubles, and latin1 may double again as UTF-8.
LONGEST_TEXT_PER_STORED_BYTE = 4


def read_rows(session: Session, table: Table, limits: Limits) -> Iterator[Batch]:
    """All rows of `table`; raises `BackupFailed` naming it."""
    try:
        if table.key is None:
            yield from read_stream(session, table, limits)
        else:
            yield from read_ranges(session, table, table.key, limits)
    except StatementFailed as error:
        raise table_failed(str(table.relation), error) from error


def read_ranges(session: Session, table: Table, key: Key, limits: Limits) -> Iterator[Batch]:
    """Every row once: the ranges follow each other without a gap or an overlap."""
    pace, steps, luck = Pace(table, limits), Steps(key), Luck()
    start: Bound | None = None
    at_once = table.data_bytes * TEXT_PER_STORED_BYTE <= limits.statement_bytes
    while True:
        end = steps.after(start, pace.rows)
        if end is None and not at_once:
            end = _bound_after(session, table, key, start, pace.rows)
        at_once = False
        where = f"FORCE INDEX ({quoted(key.index)}) {between(key.columns, start, end)}"
        rows, value, warned = _range(session, table, where, luck)
        steps.learn(start, end, rows)
        if warned and rows > 1:
            # Something was cut or left out: ask again for less, so that nothing is lost.
            pace.halve(rows)
            continue
        if warned:
            yield from raw_rows(session, table, where, limits)
        elif rows:
            yield Batch(statement(table, _whole(table, value)), rows)
            pace.learn(rows=rows, size_bytes=len(value or b""))
        if end is None:
            return
        start = end


class Pace:
    """How many rows to ask for next, learnt from what the last ones weighed."""

    def __init__(self, table: Table, limits: Limits) -> None:
        self._wanted_bytes = limits.statement_bytes
        guess = max(table.row_bytes * TEXT_PER_STORED_BYTE, SMALLEST_ROW_BYTES)
        self.rows = max(1, self._wanted_bytes // guess)

    def learn(self, *, rows: int, size_bytes: int) -> None:
        """Aim at the wanted size, but grow slowly: the next rows may be larger."""
        fitting = rows * self._wanted_bytes // max(size_bytes, 1)
        self.rows = max(1, min(fitting, self.rows * GROWTH))

    def halve(self, rows: int) -> None:
        self.rows = max(1, rows // 2)


class Steps:
    """Where a range ends along a whole-number key with few gaps, without asking the server.

    With few gaps only: a step over many would not say how many rows it may meet.
    """

    def __init__(self, key: Key) -> None:
        self._is_number = [column.data_type in COUNTABLE for column in key.columns] == [True]
        self._keys_per_row = math.inf

    def after(self, start: Bound | None, rows: int) -> Bound | None:
        """The end of the next range; None where the server has to be asked."""
        if start is None or self._keys_per_row > MOST_KEYS_PER_ROW:
            return None
        return (str(int(start[0]) + max(1, round(rows * self._keys_per_row))),)

    def learn(self, start: Bound | None, end: Bound | None, rows: int) -> None:
        if self._is_number and start is not None and end is not None:
            width = int(end[0]) - int(start[0])
            self._keys_per_row = max(1.0, width / rows) if rows else math.inf


def _range(session: Session, table: Table, where: str, luck: Luck) -> tuple[int, bytes | None, int]:
    """How many rows, their text, and how many warnings; without escaping where that will do."""
    columns = table.columns
    if not columns or not luck.try_next():
        return _escaped_range(session, table, where)
    text = f"GROUP_CONCAT({insert_text.arguments(columns)} SEPARATOR ',\n')"
    what = ",".join(("COUNT(*)", text, *insert_text.counts(columns)))
    try:
        answer, warnings = session.fetch(select(what, table.relation.name, where))
    except StatementFailed as error:
        if error.code not in COLLATIONS_MIXED:
            raise
        # The escaped text is bytes throughout, and has no collation to agree on.
        luck.learn(was_true=False)
        return _escaped_range(session, table, where)
    count, value, *counted = answer[0]
    rows, numbers = int(count or b"0"), [int(each or b"0") for each in counted]
    if warnings or not rows:
        return rows, value, warnings
    if value is None:
        return _escaped_range(session, table, where)
    is_true = insert_text.is_true(value, rows=rows, counted=numbers, columns=columns)
    luck.learn(was_true=is_true)
    return (rows, value, 0) if is_true else _escaped_range(session, table, where)


def _escaped_range(session: Session, table: Table, where: str) -> tuple[int, bytes | None, int]:
    text = f"GROUP_CONCAT({row_text(table.columns)} SEPARATOR ',\n')"
    answer, warnings = session.fetch(select(f"COUNT(*), {text}", table.relation.name, where))
    count, value = answer[0]
    return int(count or b"0"), value, warnings


def _whole(table: Table, value: bytes | None) -> bytes:
    if value is None:
        raise BackupFailed(f"cannot read table '{table.relation}': the server left out rows")
    return value


def _bound_after(
    session: Session, table: Table, key: Key, start: Bound | None, rows: int
) -> Bound | None:
    """The key `rows` rows after `start`; None where the table ends before."""
    what = ",".join(column.bound for column in key.columns)
    order = ",".join(quoted(column.name) for column in key.columns)
    along = (
        f"FORCE INDEX ({quoted(key.index)}) {between(key.columns, start, None)} "
        f"ORDER BY {order} LIMIT 1 OFFSET {rows}"
    )
    found = session.text(select(what, table.relation.name, along))
    return found[0] if found else None


def between(columns: Sequence[Column], start: Bound | None, end: Bound | None) -> str:
    """WHERE for `start <= key < end`, spelt out because servers use no index for row values."""
    conditions = []
    if start is not None:
        conditions.append(_compared(columns, start, strictly=">", at_last=">="))
    if end is not None:
        conditions.append(_compared(columns, end, strictly="<", at_last="<"))
    return "WHERE " + " AND ".join(conditions) if conditions else ""


def _compared(columns: Sequence[Column], bound: Bound, *, strictly: str, at_last: str) -> str:
    """`(a > 1 OR (a = 1 AND b >= 2))`, with a plain `a >= 1` before it for the optimiser."""
    names = [quoted(column.name) for column in columns]
    steps = []
    for place in range(len(names)):
        operator = at_last if place == len(names) - 1 else strictly
        equal = [f"{names[before]} = {bound[before]}" for before in range(place)]
        steps.append(" AND ".join([*equal, f"{names[place]} {operator} {bound[place]}"]))
    if len(steps) == 1:
        return steps[0]
    alternatives = " OR ".join(f"({step})" for step in steps)
    return f"{names[0]} {strictly}= {bound[0]} AND ({alternatives})"


def read_stream(session: Session, table: Table, limits: Limits) -> Iterator[Batch]:
    """Every row once, in the server's order; one that is too long comes column by column."""
    gathered: list[bytes] = []
    size_bytes = 0
    with session.streamed(_select(table, limits)) as rows:
        for text, *columns in rows:
            if text is not None:
                gathered.append(text)
                size_bytes += len(text)
            if text is None or size_bytes >= limits.statement_bytes:
                yield from _joined(table, gathered)
                gathered, size_bytes = [], 0
            if text is None:
                yield from long_row(table, _row(table, columns), limits)
    yield from _joined(table, gathered)


def _joined(table: Table, rows: Sequence[bytes]) -> Iterator[Batch]:
    if rows:
        yield Batch(statement(table, b",\n".join(rows)), len(rows))


def _row(table: Table, columns: Sequence[bytes | None]) -> Row:
    # A missing text without its columns would be a row lost.
    return tuple(columns) if columns else (present(table, None),)


def _select(table: Table, limits: Limits) -> str:
    """Text of a row and NULLs, or NULL and its columns where the text would be too long."""
    text = row_text(table.columns)
    long = [column for column in table.columns if column.long]
    if not long:
        return select(text, table.relation.name)
    too_long = f"{_size(long)} > {limits.longest_bytes // LONGEST_TEXT_PER_STORED_BYTE}"
    columns = ",".join(f"IF({too_long},{each},NULL)" for each in raw_row(table.columns))
    return select(f"IF({too_long},NULL,{text}),{columns}", table.relation.name)


def _size(columns: Sequence[Column]) -> str:
    return "+".join(f"IFNULL(LENGTH({quoted(column.name)}),0)" for column in columns)
