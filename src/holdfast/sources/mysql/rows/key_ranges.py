"""Ranges along a table's key: where each ends, and how many rows it should have."""

from __future__ import annotations

import math
from collections.abc import Sequence

from holdfast.model.lazy_dataclass import dataclass
from holdfast.sources.mysql.rows.insert_text import Limits
from holdfast.sources.mysql.server.columns import WHOLE_NUMBERS, Column
from holdfast.sources.mysql.server.sql import quoted
from holdfast.sources.mysql.server.tables import Key, Table

GROWTH = 4
# The estimate before any row is read: text takes more bytes than InnoDB's own format.
TEXT_PER_STORED_BYTE = 2
SMALLEST_ROW_BYTES = 32
COUNTABLE = WHOLE_NUMBERS - {"decimal"}
# A step may hold at most this many times the rows that were wanted.
MOST_KEYS_PER_ROW = 3.0
Bound = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The keys from `start` up to, but without, `end`; None for those of the table."""

    start: Bound | None
    end: Bound | None


class Pace:
    """How many rows to ask for next, adapted to the size of the last ones."""

    def __init__(self, table: Table, limits: Limits) -> None:
        self._wanted_bytes = limits.statement_bytes
        guess = max(table.row_bytes * TEXT_PER_STORED_BYTE, SMALLEST_ROW_BYTES)
        self.rows = max(1, self._wanted_bytes // guess)

    def learn(self, *, rows: int, size_bytes: int) -> None:
        """Aim at the wanted size, but grow at most `GROWTH`-fold: the next rows may be larger."""
        fitting = rows * self._wanted_bytes // max(size_bytes, 1)
        self.rows = max(1, min(fitting, self.rows * GROWTH))

    def halve(self, rows: int) -> None:
        self.rows = max(1, rows // 2)


class Steps:
    """Computes where a range ends along an integer key with few gaps, without asking the server.

    Where gaps are many, the number of rows in a step could not be predicted.
    """

    def __init__(self, key: Key) -> None:
        self._is_number = _is_number(key.columns)
        self._keys_per_row = math.inf

    def after(self, start: Bound | None, rows: int) -> Bound | None:
        """The end of the next range; None where the server must be asked."""
        if start is None or self._keys_per_row > MOST_KEYS_PER_ROW:
            return None
        return (str(int(start[0]) + max(1, round(rows * self._keys_per_row))),)

    def learn(self, start: Bound | None, end: Bound | None, rows: int) -> None:
        if self._is_number and start is not None and end is not None:
            width = int(end[0]) - int(start[0])
            self._keys_per_row = max(1.0, width / rows) if rows else math.inf


def _is_number(columns: Sequence[Column]) -> bool:
    return [column.data_type in COUNTABLE for column in columns] == [True]


def between(columns: Sequence[Column], start: Bound | None, end: Bound | None) -> str:
    """The WHERE clause for `start <= key < end`.

    Column by column, because servers use no index for comparisons of row values. MariaDB compares
    each row of the range again, and BETWEEN is one comparison.
    """
    if start is not None and end is not None and _is_number(columns):
        return f"WHERE {quoted(columns[0].name)} BETWEEN {start[0]} AND {int(end[0]) - 1}"
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
