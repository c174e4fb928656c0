"""A table with a usable key: many rows in one value, range after range along the key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.errors import BackupFailed
from holdfast.sources.mysql_native.columns import Column, row_text
from holdfast.sources.mysql_native.insert_text import Batch, Limits, raw_rows, statement
from holdfast.sources.mysql_native.names import quoted, select
from holdfast.sources.mysql_native.session import Session
from holdfast.sources.mysql_native.tables import Key, Table

GROWTH = 4
# Rows of which nothing is known yet: text costs more bytes than InnoDB's own format.
TEXT_PER_STORED_BYTE = 2
SMALLEST_ROW_BYTES = 32

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


def read(session: Session, table: Table, key: Key, limits: Limits) -> Iterator[Batch]:
    """Every row once: the ranges follow each other without a gap or an overlap."""
    pace = Pace(table, limits)
    start: Bound | None = None
    while True:
        end = _bound_after(session, table, key, start, pace.rows)
        where = f"FORCE INDEX ({quoted(key.index)}) {between(key.columns, start, end)}"
        rows, value, warned = _range(session, table, where)
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


def _range(session: Session, table: Table, where: str) -> tuple[int, bytes | None, int]:
    text = f"GROUP_CONCAT({row_text(table.columns)} SEPARATOR ',\\n')"
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
