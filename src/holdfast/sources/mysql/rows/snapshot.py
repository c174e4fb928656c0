"""A snapshot held by a pool of sessions, and the streams of the parts that are read from it."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from holdfast.model.backup import Buffer, Consistency, Member, PartPlan, Server
from holdfast.model.errors import HoldfastError, SnapshotLost
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.proof import MysqlProof
from holdfast.ports.source import PartStream, Snapshot
from holdfast.runtime.cleanup import afterwards
from holdfast.sources.mysql.rows.consistent_snapshot import SAVEPOINT, ConsistentSnapshot
from holdfast.sources.mysql.rows.insert_text import HEADER, Limits, mark
from holdfast.sources.mysql.rows.table_rows import TableRows
from holdfast.sources.mysql.server.connection import ConnectionLost
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.tables import Table


class MysqlSnapshot(Snapshot):
    """One moment of one database; made by `MysqlSource.open`."""

    consistency = Consistency.SNAPSHOT

    def __init__(
        self,
        *,
        server: Server,
        taken: ConsistentSnapshot,
        contents: Contents,
        pool: Pool,
        limits: Limits,
        guard: TableGuard,
        summing: TableChecksums,
        notes: Sequence[str] = (),
    ) -> None:
        self._server = server
        self._notes = tuple(notes)
        self._taken = taken
        self._contents = contents
        self._pool = pool
        self._limits = limits
        self._guard = guard
        self._summing = summing

    @property
    def server(self) -> Server:
        return self._server

    @property
    def taken_at(self) -> datetime:
        return self._taken.taken_at

    @property
    def proof(self) -> MysqlProof:
        return replace(self._taken.proof, json_changed=self._summing.json_told)

    @property
    def notes(self) -> Sequence[str]:
        """What a restore will not bring back as it was; complete once every part was read."""
        told = self._summing.json_told
        changed = f"JSON with values that come back as text only: {told}"
        return (*self._notes, changed) if told else self._notes

    @property
    def parts(self) -> Sequence[PartPlan]:
        return self._contents.plans

    @contextmanager
    def read(self, part: PartPlan) -> Iterator[PartStream]:
        text = self._contents.texts.get(part.name)
        if text is not None:
            yield TextStream(text)
            return
        with self._pool.sessions() as sessions:
            tables = self._contents.tables[part.name]
            stream = RowsStream(
                sessions, tables, self._limits, guard=self._guard, summing=self._summing
            )
            with afterwards(stream.close):
                yield stream

    def abort(self) -> None:
        self._pool.abandon()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What each part is made of: the rows of tables, or a text that was already read."""

    plans: tuple[PartPlan, ...]
    tables: Mapping[str, tuple[Table, ...]]
    texts: Mapping[str, bytes]


class Pool:
    """The sessions of one snapshot, in a group for each worker; a lost one is never replaced."""

    def __init__(self, groups: Sequence[Sequence[Session]]) -> None:
        self._groups = tuple(tuple(group) for group in groups)
        self._idle: queue.SimpleQueue[tuple[Session, ...] | None] = queue.SimpleQueue()
        for group in self._groups:
            self._idle.put(group)

    @contextmanager
    def sessions(self) -> Iterator[Sequence[Session]]:
        """Borrow a group; raises `SnapshotLost` where a connection is lost, or no group is left."""
        group = self._idle.get()
        if group is None:
            # The next thread that waits must also learn that no session is left.
            self._idle.put(None)
            raise _lost("no session with the snapshot is left")
        with afterwards(self._give_back, group):
            try:
                yield group
            except ConnectionLost as error:
                _cut(group)
                raise _lost(error.message) from error

    def _give_back(self, group: tuple[Session, ...]) -> None:
        """Return a group to the pool; one with a cut session stays out: its transaction is over."""
        if _is_alive(group):
            with suppress(HoldfastError):
                for session in group:
                    session.run(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
                self._idle.put(group)
                return
        _cut(group)
        if not any(map(_is_alive, self._groups)):
            self._idle.put(None)

    def abandon(self) -> None:
        """Cut all sessions, and let no thread borrow one any more."""
        for group in self._groups:
            _cut(group)
        self._idle.put(None)


def _is_alive(group: Sequence[Session]) -> bool:
    return all(session.alive for session in group)


def _cut(group: Sequence[Session]) -> None:
    for session in group:
        session.cut()


def _lost(cause: str) -> SnapshotLost:
    return SnapshotLost(
        f"cannot continue reading the snapshot: {cause}",
        hint="check whether the session was killed or the server restarted, and run the backup "
        "again",
    )


class RowsStream(PartStream):
    """A script of the rows of `tables`, table by table; read once."""

    rows: int | None = None

    def __init__(
        self,
        sessions: Sequence[Session],
        tables: Sequence[Table],
        limits: Limits,
        *,
        guard: TableGuard,
        summing: TableChecksums,
    ) -> None:
        self._idle = deque(sessions)
        self._tables = tables
        self._left = deque(tables)
        self._limits = limits
        self._guard = guard
        self._summing = summing
        self._written = 0
        self._found: list[Member] = []
        self._begun: deque[TableRows] = deque()
        self._script = self._read()

    @property
    def members(self) -> Sequence[Member]:
        """The position of each table's rows; empty where the part holds only one table."""
        return self._found if len(self._tables) > 1 else ()

    @property
    def checksum(self) -> str:
        """The checksum of the part's only table; empty where the part holds several."""
        return self._found[0].checksum if len(self._tables) == 1 else ""

    def __iter__(self) -> Iterator[Buffer]:
        return self._script

    def close(self) -> None:
        self._script.close()

    def _read(self) -> Generator[Buffer, None, None]:
        with afterwards(self._drop_ahead):
            yield self._counted(HEADER)
            while self._begun or self._left:
                if not self._begun:
                    self._begun.append(self._reader())
                yield from self._rows_of(self._begun[0])
                self._begun.popleft()
        self._guard.after_reading(self._idle[0], self._tables)
        self.rows = sum(member.rows for member in self._found)

    def _rows_of(self, reader: TableRows) -> Generator[Buffer, None, None]:
        begins, rows, table = self._written, 0, reader.table
        yield self._counted(mark(table))
        for batch in reader.read(then=lambda: self._begin_others(after=reader)):
            rows += batch.rows
            yield self._counted(batch.sql)
        size_bytes = self._written - begins
        checksum = ""
        if reader.found is not None:
            checksum = self._summing.told(table, reader.found, size_bytes=size_bytes)
        elif self._summing.asks(table):
            idle = self._idle[0]
            checksum = yield from self._summing.checksum(idle, table, size_bytes=size_bytes)
        self._found.append(
            Member(
                relation=table.relation,
                rows=rows,
                offset=begins,
                plain_bytes=size_bytes,
                checksum=checksum,
            )
        )

    def _reader(self) -> TableRows:
        table = self._left.popleft()
        self._guard.before_reading(table)
        total = self._summing.beside_rows(table)
        return TableRows(self._idle, table, self._limits, total=total)

    def _begin_others(self, *, after: TableRows) -> None:
        """Ask idle sessions for the rows of the next tables, while the last ones are compressed.

        Not where a session is needed before: for the checksum of a table, or for one that is
        streamed.
        """
        if after.found is None and self._summing.asks(after.table):
            return
        while self._idle and self._left and self._left[0].key is not None:
            self._begun.append(self._reader())
            self._begun[-1].begin()

    def _drop_ahead(self) -> None:
        for reader in self._begun:
            reader.drop()

    def _counted(self, sql: bytes) -> bytes:
        self._written += len(sql)
        return sql


class TextStream(PartStream):
    """A script that was read when the snapshot was taken."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def __iter__(self) -> Iterator[Buffer]:
        return iter((self._text,))


class TableGuard(Protocol):
    """Checks tables before and after their rows are read."""

    def before_reading(self, table: Table) -> None:
        """Raises `SnapshotLost` where the table can no longer be read as of the snapshot."""
        ...

    def after_reading(self, session: Session, tables: Sequence[Table]) -> None:
        """Raises `BackupFailed` where a table is no longer as it was at the snapshot."""
        ...


class TableChecksums(Protocol):
    """Has the server compute the checksums of tables."""

    @property
    def json_told(self) -> str:
        """JSON columns of the tables read so far whose values come back with other types."""
        ...

    def asks(self, table: Table) -> bool:
        """Whether `checksum` may ask the server about the table, and so needs the session."""
        ...

    def beside_rows(self, table: Table) -> str:
        """An expression for the query that reads all rows of the table; empty for none."""
        ...

    def told(self, table: Table, found: int, *, size_bytes: int) -> str:
        """The checksum of a table for which that expression gave `found`, or an empty string."""
        ...

    def checksum(
        self, session: Session, table: Table, *, size_bytes: int
    ) -> Generator[bytes, None, str]:
        """The checksum of a table whose rows take `size_bytes` as a script, or an empty string.

        Yields an empty buffer periodically while the server computes, so that a watchdog does not
        take the read for stalled.
        """
        ...
