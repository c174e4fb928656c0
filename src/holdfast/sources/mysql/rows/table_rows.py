"""The rows of one table as INSERT statements.

A table with a usable key is read in ranges along the key, many rows in one value. Any other table
is read as a single stream.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from holdfast.model.errors import BackupFailed
from holdfast.sources.mysql.rows.insert_text import (
    Batch,
    Limits,
    Luck,
    long_row,
    present,
    statement,
)
from holdfast.sources.mysql.rows.range_text import AskedRange
from holdfast.sources.mysql.server.columns import WHOLE_NUMBERS, Column, raw_row, row_text
from holdfast.sources.mysql.server.connection import StatementFailed, table_failed
from holdfast.sources.mysql.server.session import Row, Session
from holdfast.sources.mysql.server.sql import quoted, select
from holdfast.sources.mysql.server.tables import Key, Table

GROWTH = 4
# The estimate before any row is read: text takes more bytes than InnoDB's own format.
TEXT_PER_STORED_BYTE = 2
SMALLEST_ROW_BYTES = 32
COUNTABLE = WHOLE_NUMBERS - {"decimal"}
# A step may hold at most this many times the rows that were wanted.
MOST_KEYS_PER_ROW = 3.0
Bound = tuple[str, ...]
# Hexadecimal doubles, quoting doubles, and latin1 may double again as UTF-8.
LONGEST_TEXT_PER_STORED_BYTE = 4


class TableRows:
    """The rows of one table as SQL; read once.

    Where one query reads all of them, it also computes the expression `total`, and sets `found`.
    """

    def __init__(self, session: Session, table: Table, limits: Limits, *, total: str = "") -> None:
        self._session = session
        self.table = table
        self._limits = limits
        self._luck = Luck()
        self._total = total
        self.found: int | None = None
        self._pace = Pace(table, limits)
        self._asked: AskedRange | None = None
        self._first: tuple[AskedRange, Bound | None] | None = None

    def begin(self) -> None:
        """Ask for the first rows, where they can be asked for: the session can do nothing else
        until they are read."""
        if self.table.key is not None:
            try:
                self._begun(self.table.key)
            except StatementFailed as error:
                raise table_failed(str(self.table.relation), error) from error

    def drop(self) -> None:
        """Free the session from a question whose answer nobody wants any more."""
        if self._asked:
            self._asked.drop()

    def read(self, *, then: Callable[[], None]) -> Iterator[Batch]:
        """All rows of the table; raises `BackupFailed` naming the table.

        `then` is called when the session is free again, before the caller gets the last rows.
        """
        key = self.table.key
        try:
            yield from self._streamed(then) if key is None else self._ranges(key, then)
        except StatementFailed as error:
            raise table_failed(str(self.table.relation), error) from error

    def _ranges(self, key: Key, then: Callable[[], None]) -> Iterator[Batch]:
        """Every row once: the ranges have no gaps and no overlaps.

        The next range is asked for before the caller gets the last one: the server reads it while
        the caller compresses.
        """
        table, pace, steps = self.table, self._pace, Steps(key)
        asked, end = self._begun(key)
        start: Bound | None = None
        while True:
            rows, value, warned = asked.answer()
            steps.learn(start, end, rows)
            self.found = asked.found
            batch: Batch | None = None
            is_cut = warned and rows > 1
            if is_cut:
                # The server truncated the result: ask for fewer rows, so that none is lost.
                pace.halve(rows)
            elif warned:
                yield from self._raw(asked.where)
            elif rows:
                batch = Batch(statement(table, self._whole(value)), rows)
                pace.learn(rows=rows, size_bytes=len(value or b""))
            is_over = end is None and not is_cut
            if is_over:
                then()
            else:
                start = start if is_cut else end
                end = steps.after(start, pace.rows) or self._bound_after(key, start, pace.rows)
                asked = self._asked_for(key, start, end)
            if batch:
                yield batch
            if is_over:
                return

    def _begun(self, key: Key) -> tuple[AskedRange, Bound | None]:
        """The first range and its end."""
        if self._first is None:
            at_once = self.table.data_bytes * TEXT_PER_STORED_BYTE <= self._limits.statement_bytes
            end = None if at_once else self._bound_after(key, None, self._pace.rows)
            total = self._total if end is None else ""
            self._first = self._asked_for(key, None, end, total=total), end
        return self._first

    def _asked_for(
        self, key: Key, start: Bound | None, end: Bound | None, *, total: str = ""
    ) -> AskedRange:
        where = f"FORCE INDEX ({quoted(key.index)}) {between(key.columns, start, end)}"
        self._asked = AskedRange(
            self._session, self.table, where=where, luck=self._luck, total=total
        )
        return self._asked

    def _whole(self, value: bytes | None) -> bytes:
        if value is None:
            raise BackupFailed(
                f"cannot read table '{self.table.relation}': the server left out rows"
            )
        return value

    def _bound_after(self, key: Key, start: Bound | None, rows: int) -> Bound | None:
        """The key that is `rows` rows after `start`; None where the table ends before that."""
        what = ",".join(column.bound for column in key.columns)
        order = ",".join(quoted(column.name) for column in key.columns)
        along = (
            f"FORCE INDEX ({quoted(key.index)}) {between(key.columns, start, None)} "
            f"ORDER BY {order} LIMIT 1 OFFSET {rows}"
        )
        found = self._session.text(self._select(what, along))
        return found[0] if found else None

    def _raw(self, where: str) -> Iterator[Batch]:
        """Rows too long for one statement: long values are built in variables, piece by piece."""
        what = ",".join(raw_row(self.table.columns))
        with self._session.streamed(self._select(what, where)) as rows:
            for row in rows:
                yield from long_row(self.table, row, self._limits)

    def _streamed(self, then: Callable[[], None]) -> Iterator[Batch]:
        """Every row once, in the server's order; a row that is too long comes column by column."""
        gathered: list[bytes] = []
        size_bytes, wanted_bytes = 0, self._limits.statement_bytes
        with self._session.streamed(self._all_rows()) as rows:
            for text, *columns in rows:
                if text is not None:
                    gathered.append(text)
                    size_bytes += len(text)
                if text is None or size_bytes >= wanted_bytes:
                    yield from self._joined(gathered)
                    gathered, size_bytes = [], 0
                if text is None:
                    yield from long_row(self.table, self._row(columns), self._limits)
        then()
        yield from self._joined(gathered)

    def _joined(self, rows: Sequence[bytes]) -> Iterator[Batch]:
        if rows:
            yield Batch(statement(self.table, b",\n".join(rows)), len(rows))

    def _row(self, columns: Sequence[bytes | None]) -> Row:
        # Without columns, a NULL text would silently lose the row.
        return tuple(columns) if columns else (present(self.table, None),)

    def _all_rows(self) -> str:
        """The query for each row's text and NULLs, or for NULL and its columns where the text
        would be too long."""
        columns = self.table.columns
        text = row_text(columns)
        long = [column for column in columns if column.long]
        if not long:
            return self._select(text)
        most = self._limits.longest_bytes // LONGEST_TEXT_PER_STORED_BYTE
        too_long = f"{_size(long)} > {most}"
        apart = ",".join(f"IF({too_long},{each},NULL)" for each in raw_row(columns))
        return self._select(f"IF({too_long},NULL,{text}),{apart}")

    def _select(self, what: str, rest: str = "") -> str:
        return select(what, self.table.relation.name, rest)


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


def _size(columns: Sequence[Column]) -> str:
    return "+".join(f"IFNULL(LENGTH({quoted(column.name)}),0)" for column in columns)
