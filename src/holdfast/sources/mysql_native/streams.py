"""Parts on their way out: the rows of one table or of several small ones, or a text."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Protocol

from holdfast.model import Buffer, Member
from holdfast.sources.mysql_native.insert_text import HEADER, Limits, mark
from holdfast.sources.mysql_native.rows import read_rows
from holdfast.sources.mysql_native.session import Session
from holdfast.sources.mysql_native.tables import Table


class Guarded(Protocol):
    """Somebody who looks at tables before and after their rows are read."""

    def before_reading(self, table: Table) -> None:
        """Raises `SnapshotLost` where it cannot be read as of the snapshot any more."""
        ...

    def after_reading(self, session: Session, tables: Sequence[Table]) -> None:
        """Raises `BackupFailed` where one is no longer what it was at the snapshot."""
        ...


class RowsStream:
    """A script of the rows of `tables`, one after the other; read once."""

    rows: int | None = None

    def __init__(
        self, session: Session, tables: Sequence[Table], limits: Limits, guard: Guarded
    ) -> None:
        self._session = session
        self._tables = tables
        self._limits = limits
        self._guard = guard
        self._written = 0
        self._found: list[Member] = []
        self._script = self._read()

    @property
    def members(self) -> Sequence[Member]:
        """Where each table's rows lie; a table that is alone has the part to itself."""
        return self._found if len(self._tables) > 1 else ()

    def __iter__(self) -> Iterator[Buffer]:
        return self._script

    def end(self) -> None:
        """Stop the server's work where it is not done."""
        self._script.close()

    def _read(self) -> Generator[Buffer, None, None]:
        yield self._counted(HEADER)
        for table in self._tables:
            yield from self._rows_of(table)
        self._guard.after_reading(self._session, self._tables)
        self.rows = sum(member.rows for member in self._found)

    def _rows_of(self, table: Table) -> Iterator[Buffer]:
        self._guard.before_reading(table)
        begins, rows = self._written, 0
        yield self._counted(mark(table))
        for batch in read_rows(self._session, table, self._limits):
            rows += batch.rows
            yield self._counted(batch.sql)
        self._found.append(
            Member(
                relation=table.relation,
                rows=rows,
                offset=begins,
                plain_bytes=self._written - begins,
            )
        )

    def _counted(self, sql: bytes) -> bytes:
        self._written += len(sql)
        return sql


class TextStream:
    """A script that was read when the snapshot was taken."""

    rows: int | None = None
    members: Sequence[Member] = ()

    def __init__(self, text: bytes) -> None:
        self._text = text

    def __iter__(self) -> Iterator[Buffer]:
        return iter((self._text,))
