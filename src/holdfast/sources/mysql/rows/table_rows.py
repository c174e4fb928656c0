"""The rows of one table as INSERT statements.

A table with a usable key is read in ranges along the key, many rows in one value. Any other table
is read as a single stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from holdfast.model.errors import BackupFailed
from holdfast.sources.mysql.rows.insert_text import (
    Batch,
    Limits,
    Luck,
    RowsText,
    long_row,
    present,
    statement,
)
from holdfast.sources.mysql.rows.key_ranges import (
    TEXT_PER_STORED_BYTE,
    Bound,
    Pace,
    Range,
    Steps,
    between,
)
from holdfast.sources.mysql.rows.range_text import AskedRange
from holdfast.sources.mysql.server.columns import Column, raw_row, row_text
from holdfast.sources.mysql.server.connection import StatementFailed, table_failed
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.sql import quoted, select
from holdfast.sources.mysql.server.tables import Key, Table

# Hexadecimal doubles, quoting doubles, and latin1 may double again as UTF-8.
LONGEST_TEXT_PER_STORED_BYTE = 4


class TableRows:
    """The rows of one table as SQL; read once.

    Each of the `idle` sessions is asked for a range, and taken out of them until its answer was
    read: the server makes the next ranges while it sends one. Where one query reads all rows, it
    also computes the expression `total`, and sets `found`.
    """

    def __init__(
        self, idle: deque[Session], table: Table, limits: Limits, *, total: str = ""
    ) -> None:
        self._idle = idle
        self.table = table
        self._limits = limits
        self._luck = Luck()
        self._total = total
        self.found: int | None = None
        self._pace = Pace(table, limits)
        self._steps: Steps | None = None if table.key is None else Steps(table.key)
        expected_bytes = table.data_bytes * TEXT_PER_STORED_BYTE
        self._fits_at_once = expected_bytes <= limits.statement_bytes
        self._asked: deque[AskedRange] = deque()
        self._barred: list[Session] = []
        self._are_admitted = False
        self._next_start: Bound | None = None
        self._is_all_asked = False

    def begin(self) -> None:
        """Ask for the first rows, where they can be asked for."""
        if self.table.key is not None:
            with self._named():
                self._ask(self.table.key)

    def drop(self) -> None:
        """Free the sessions from questions whose answers nobody wants any more."""
        for each in self._asked:
            each.drop()

    def read(self, *, then: Callable[[], None]) -> Iterator[Batch]:
        """All rows of the table; raises `BackupFailed` naming the table.

        `then` is called when all answers were read, before the caller gets the last rows.
        """
        key = self.table.key
        with self._named():
            yield from self._streamed(then) if key is None else self._ranges(key, then)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except StatementFailed as error:
            raise table_failed(str(self.table.relation), error) from error

    def _ranges(self, key: Key, then: Callable[[], None]) -> Iterator[Batch]:
        """Every row once: the ranges have no gaps and no overlaps.

        The next range is asked for before the caller gets the last one: the server reads it while
        the caller compresses. All sessions are asked once it is known how long rows are.
        """
        if not self._asked:
            self._ask(key)
        while self._asked:
            asked = self._asked[0]
            rows, value, warned = asked.answer()
            self._asked.popleft()
            self.found = asked.found
            if self._steps:
                self._steps.learn(asked.keys.start, asked.keys.end, rows)
            if warned and rows > 1 and not self._asked:
                # The server truncated the result: what follows is asked for again, in fewer rows.
                self._fits_at_once = False
                self._pace.halve(rows)
                self._next_start, self._is_all_asked = asked.keys.start, False
            elif warned:
                yield from self._smaller(key, asked, rows)
            elif rows:
                self._pace.learn(rows=rows, size_bytes=len(value) if value else 0)
            self._ask_others(key, asked.session)
            if not self._asked:
                self._idle.extend(self._barred)
                then()
            if rows and not warned:
                yield self._batch(rows, value)

    def _ask_others(self, key: Key, free: Session) -> None:
        """Ask the session that is `free` again, and then all other ones.

        But not one that would wait behind a statement that changes the table: that waits for the
        session that reads the table already, and we would wait for both.
        """
        self._idle.appendleft(free)
        if self._is_all_asked:
            return
        self._ask(key)
        if not self._are_admitted:
            self._are_admitted = True
            probe = self._select("1", "LIMIT 0")
            self._barred = [each for each in self._idle if not each.is_admitted(probe)]
            for each in self._barred:
                self._idle.remove(each)
        while self._idle and not self._is_all_asked:
            self._ask(key)

    def _ask(self, key: Key) -> None:
        """Ask an idle session for the next range."""
        session, start = self._idle.popleft(), self._next_start
        end = self._end_of_next(session, key, start)
        total = self._total if start is None and end is None else ""
        self._asked.append(self._asked_for(session, key, Range(start, end), total=total))
        self._next_start, self._is_all_asked = end, end is None

    def _end_of_next(self, session: Session, key: Key, start: Bound | None) -> Bound | None:
        if start is None and self._fits_at_once:
            return None
        known = self._steps.after(start, self._pace.rows) if self._steps else None
        return known or self._bound_after(session, key, Range(start, None))

    def _asked_for(self, session: Session, key: Key, keys: Range, *, total: str = "") -> AskedRange:
        where = f"FORCE INDEX ({quoted(key.index)}) {between(key.columns, keys.start, keys.end)}"
        return AskedRange(session, self.table, keys, where=where, luck=self._luck, total=total)

    def _smaller(self, key: Key, asked: AskedRange, rows: int) -> Iterator[Batch]:
        """A range whose text the server truncated: in smaller ones, so that no row is lost.

        Its end is kept, because other sessions already read what follows.
        """
        session, start, end = asked.session, asked.keys.start, asked.keys.end
        if rows <= 1:
            yield from self._raw(session, asked.where)
            return
        self._pace.halve(rows)
        while True:
            rest = Range(start, end)
            middle = self._bound_after(session, key, rest) or end
            part = self._asked_for(session, key, Range(start, middle))
            found, value, warned = part.answer()
            if warned:
                yield from self._smaller(key, part, found)
            elif found:
                yield self._batch(found, value)
            if middle == end:
                return
            start = middle

    def _batch(self, rows: int, value: RowsText | None) -> Batch:
        return Batch(statement(self.table, self._whole(value)), rows)

    def _whole(self, value: RowsText | None) -> RowsText:
        if value is None:
            raise BackupFailed(
                f"cannot read table '{self.table.relation}': the server left out rows"
            )
        return value

    def _bound_after(self, session: Session, key: Key, keys: Range) -> Bound | None:
        """The key that is as many rows after the start as wanted; None where there are fewer."""
        what = ",".join(column.bound for column in key.columns)
        order = ",".join(quoted(column.name) for column in key.columns)
        along = (
            f"FORCE INDEX ({quoted(key.index)}) {between(key.columns, keys.start, keys.end)} "
            f"ORDER BY {order} LIMIT 1 OFFSET {self._pace.rows}"
        )
        found = session.text(self._select(what, along))
        return found[0] if found else None

    def _raw(self, session: Session, where: str) -> Iterator[Batch]:
        """Rows too long for one statement: long values are built in variables, piece by piece."""
        what = ",".join(raw_row(self.table.columns))
        with session.streamed(self._select(what, where)) as rows:
            for row in rows:
                yield from long_row(self.table, row, self._limits)

    def _streamed(self, then: Callable[[], None]) -> Iterator[Batch]:
        """Every row once, in the server's order; a row that is too long comes column by column."""
        gathered: list[bytes] = []
        size_bytes, wanted_bytes = 0, self._limits.statement_bytes
        session = self._idle.popleft()
        with session.streamed(self._all_rows()) as rows:
            for text, *columns in rows:
                if text is not None:
                    gathered.append(text)
                    size_bytes += len(text)
                if text is None or size_bytes >= wanted_bytes:
                    yield from self._joined(gathered)
                    gathered, size_bytes = [], 0
                if text is None:
                    yield from long_row(self.table, self._row(columns), self._limits)
        self._idle.append(session)
        then()
        yield from self._joined(gathered)

    def _joined(self, rows: Sequence[bytes]) -> Iterator[Batch]:
        if rows:
            yield Batch(statement(self.table, RowsText.of(b",\n".join(rows))), len(rows))

    def _row(self, columns: Sequence[bytes | None]) -> tuple[bytes | None, ...]:
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


def _size(columns: Sequence[Column]) -> str:
    return "+".join(f"IFNULL(LENGTH({quoted(column.name)}),0)" for column in columns)
