"""Parts on their way out: the rows of one table or of several small ones, or a text."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Protocol

from holdfast.model.backup import Buffer, Member
from holdfast.sources.mysql.rows.insert_text import HEADER, Limits, mark
from holdfast.sources.mysql.rows.rows import read_rows
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.tables import Table


class Guarded(Protocol):
    """Somebody who looks at tables before and after their rows are read."""

    def before_reading(self, table: Table) -> None:
        """Raises `SnapshotLost` where it cannot be read as of the snapshot any more."""
        ...

    def after_reading(self, session: Session, tables: Sequence[Table]) -> None:
        """Raises `BackupFailed` where one is no longer what it was at the snapshot."""
        ...


class Summing(Protocol):
    """Somebody who has the server sum up the content of tables."""

    @property
    def json_told(self) -> str:
        """Columns whose documents come back with other types, as far as tables were read."""
        ...

    def checksum(
        self, session: Session, table: Table, *, size_bytes: int
    ) -> Generator[bytes, None, str]:
        """The checksum of a table whose rows take `size_bytes` as a script, or an empty string.

        Yields an empty buffer now and then while the server is at work: whoever looks at the
        clock sees that we are, too.
        """
        ...


class RowsStream:
    """A script of the rows of `tables`, one after the other; read once."""

    rows: int | None = None

    def __init__(
        self,
        session: Session,
        tables: Sequence[Table],
        limits: Limits,
        *,
        guard: Guarded,
        summing: Summing,
    ) -> None:
        self._session = session
        self._tables = tables
        self._limits = limits
        self._guard = guard
        self._summing = summing
        self._written = 0
        self._found: list[Member] = []
        self._script = self._read()

    @property
    def members(self) -> Sequence[Member]:
        """Where each table's rows lie; a table that is alone has the part to itself."""
        return self._found if len(self._tables) > 1 else ()

    @property
    def checksum(self) -> str:
        """That of a table that has the part to itself."""
        return self._found[0].checksum if len(self._tables) == 1 else ""

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

    def _rows_of(self, table: Table) -> Generator[Buffer, None, None]:
        self._guard.before_reading(table)
        begins, rows = self._written, 0
        yield self._counted(mark(table))
        for batch in read_rows(self._session, table, self._limits):
            rows += batch.rows
            yield self._counted(batch.sql)
        size_bytes = self._written - begins
        checksum = yield from self._summing.checksum(self._session, table, size_bytes=size_bytes)
        self._found.append(
            Member(
                relation=table.relation,
                rows=rows,
                offset=begins,
                plain_bytes=size_bytes,
                checksum=checksum,
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
