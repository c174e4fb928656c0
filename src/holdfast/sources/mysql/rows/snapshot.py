"""A snapshot held by a pool of sessions, and the streams of the parts that are read from it."""

from __future__ import annotations

import queue
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from itertools import zip_longest
from typing import Protocol

from holdfast.model.backup import Buffer, Consistency, Member, PartPlan, Relation, Server
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
        with self._pool.session() as session:
            tables = self._contents.tables[part.name]
            stream = RowsStream(
                session, tables, self._limits, guard=self._guard, summing=self._summing
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
    """The sessions of one snapshot; a lost session is never replaced."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._sessions = tuple(sessions)
        self._idle: queue.SimpleQueue[Session | None] = queue.SimpleQueue()
        for session in sessions:
            self._idle.put(session)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Borrow a session; raises `SnapshotLost` where its connection is lost, or none is left."""
        session = self._idle.get()
        if session is None:
            # The next thread that waits must also learn that no session is left.
            self._idle.put(None)
            raise _lost("no session with the snapshot is left")
        with afterwards(self._give_back, session):
            try:
                yield session
            except ConnectionLost as error:
                session.cut()
                raise _lost(error.message) from error

    def _give_back(self, session: Session) -> None:
        """Return a session to the pool; one that was cut stays out, as its transaction is over."""
        if session.alive:
            with suppress(HoldfastError):
                session.run(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
                self._idle.put(session)
                return
            session.cut()
        if not any(other.alive for other in self._sessions):
            self._idle.put(None)

    def abandon(self) -> None:
        """Cut all sessions, and let no thread borrow one any more."""
        for session in self._sessions:
            session.cut()
        self._idle.put(None)


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
        session: Session,
        tables: Sequence[Table],
        limits: Limits,
        *,
        guard: TableGuard,
        summing: TableChecksums,
    ) -> None:
        self._session = session
        self._tables = tables
        self._limits = limits
        self._guard = guard
        self._summing = summing
        self._written = 0
        self._found: list[Member] = []
        self._reading: TableRows | None = None
        self._begun: dict[Relation, TableRows] = {}
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
            for table, following in zip_longest(self._tables, self._tables[1:]):
                yield from self._rows_of(table, following)
        self._guard.after_reading(self._session, self._tables)
        self.rows = sum(member.rows for member in self._found)

    def _rows_of(self, table: Table, following: Table | None) -> Generator[Buffer, None, None]:
        reader = self._begun.pop(table.relation, None) or self._reader(table)
        begins, rows = self._written, 0
        yield self._counted(mark(table))
        for batch in reader.read(then=lambda: self._begin(following, after=reader)):
            rows += batch.rows
            yield self._counted(batch.sql)
        size_bytes = self._written - begins
        if reader.found is None:
            checksum = yield from self._summing.checksum(
                self._session, table, size_bytes=size_bytes
            )
        else:
            checksum = self._summing.told(table, reader.found, size_bytes=size_bytes)
        self._found.append(
            Member(
                relation=table.relation,
                rows=rows,
                offset=begins,
                plain_bytes=size_bytes,
                checksum=checksum,
            )
        )

    def _reader(self, table: Table) -> TableRows:
        self._guard.before_reading(table)
        total = self._summing.beside_rows(table)
        self._reading = TableRows(self._session, table, self._limits, total=total)
        return self._reading

    def _begin(self, following: Table | None, *, after: TableRows) -> None:
        """Ask for the rows of the next table, while the last rows of a table are compressed."""
        is_free = after.found is not None or not self._summing.asks(after.table)
        if following is not None and is_free:
            reader = self._reader(following)
            reader.begin()
            self._begun[following.relation] = reader

    def _drop_ahead(self) -> None:
        if self._reading is not None:
            self._reading.drop()

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
