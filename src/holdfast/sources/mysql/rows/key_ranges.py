"""A table with a usable key: many rows in one value, range after range along the key."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from holdfast.model.errors import BackupFailed
from holdfast.sources.mysql.rows import unescaped_rows
from holdfast.sources.mysql.rows.insert_text import Batch, Limits, raw_rows, statement
from holdfast.sources.mysql.rows.unescaped_rows import Luck
from holdfast.sources.mysql.server.columns import WHOLE_NUMBERS, Column, row_text
from holdfast.sources.mysql.server.failures import COLLATIONS_MIXED, StatementFailed
from holdfast.sources.mysql.server.names import quoted, select
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.tables import Key, Table

GROWTH = 4
# Rows of which nothing is known yet: text costs more bytes than InnoDB's own format.
TEXT_PER_STORED_BYTE = 2
SMALLEST_ROW_BYTES = 32
COUNTABLE = WHOLE_NUMBERS - {"decimal"}
# So many times the rows that were wanted may be in a step at most.
MOST_KEYS_PER_ROW = 3.0

Bound = tuple[str, ...]


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


def read(session: Session, table: Table, key: Key, limits: Limits) -> Iterator[Batch]:
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


def _range(session: Session, table: Table, where: str, luck: Luck) -> tuple[int, bytes | None, int]:
    """How many rows, their text, and how many warnings; without escaping where that will do."""
    columns = table.columns
    if not columns or not luck.try_next():
        return _escaped_range(session, table, where)
    text = f"GROUP_CONCAT({unescaped_rows.arguments(columns)} SEPARATOR ',\n')"
    what = ",".join(("COUNT(*)", text, *unescaped_rows.counts(columns)))
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
    is_true = unescaped_rows.is_true(value, rows=rows, counted=numbers, columns=columns)
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
