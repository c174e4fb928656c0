"""A snapshot held by a pool of sessions, and the parts that are read from it."""

from __future__ import annotations

import queue
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from holdfast.errors import HoldfastError, SnapshotLost
from holdfast.model import Buffer, Consistency, Member, PartPlan, Server
from holdfast.ports import PartStream
from holdfast.sources.mysql_native.failures import ConnectionLost
from holdfast.sources.mysql_native.insert_text import Limits, header
from holdfast.sources.mysql_native.moment import SAVEPOINT, Moment
from holdfast.sources.mysql_native.rows import read_rows
from holdfast.sources.mysql_native.session import Session
from holdfast.sources.mysql_native.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Where each part comes from: the rows of a table, or a text that is already here."""

    plans: tuple[PartPlan, ...]
    tables: Mapping[str, Table]
    texts: Mapping[str, bytes]


class Pool:
    """The sessions of one snapshot; one that is lost is never replaced."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._sessions = tuple(sessions)
        self._idle: queue.SimpleQueue[Session | None] = queue.SimpleQueue()
        for session in sessions:
            self._idle.put(session)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Borrow a session; raises `SnapshotLost` where it is gone, or none is left."""
        session = self._idle.get()
        if session is None:
            # Whoever waits behind us must be told too.
            self._idle.put(None)
            raise _lost("no session that carried it is left")
        try:
            yield session
        except ConnectionLost as error:
            session.cut()
            raise _lost(error.message) from error
        finally:
            self._give_back(session)

    def _give_back(self, session: Session) -> None:
        """A session that was cut stays out: its transaction is over."""
        if session.alive:
            with suppress(HoldfastError):
                session.run(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
                self._idle.put(session)
                return
            session.cut()
        if not any(other.alive for other in self._sessions):
            self._idle.put(None)

    def abandon(self) -> None:
        """End what is under way, and let nobody borrow any more."""
        for session in self._sessions:
            session.cut()
        self._idle.put(None)


def _lost(cause: str) -> SnapshotLost:
    return SnapshotLost(
        f"cannot go on reading the snapshot: {cause}",
        hint="was the session killed, or the server restarted? Run the backup again",
    )


class Guarded(Protocol):
    """Somebody who looks at a table before and after its rows are read."""

    def before_reading(self, table: Table) -> None:
        """Raises `SnapshotLost` where it cannot be read as of the snapshot any more."""
        ...

    def after_reading(self, session: Session, table: Table) -> None:
        """Raises `BackupFailed` where the table is no longer what it was at the snapshot."""
        ...


class TableStream:
    """The script of one table's rows; read once."""

    rows: int | None = None
    members: Sequence[Member] = ()

    def __init__(self, session: Session, table: Table, limits: Limits, guard: Guarded) -> None:
        self._guard = guard
        self._script = self._read(session, table, limits)

    def __iter__(self) -> Iterator[Buffer]:
        return self._script

    def end(self) -> None:
        """Stop the server's work where it is not done."""
        self._script.close()

    def _read(
        self, session: Session, table: Table, limits: Limits
    ) -> Generator[Buffer, None, None]:
        self._guard.before_reading(table)
        yield header(table)
        rows = 0
        for batch in read_rows(session, table, limits):
            rows += batch.rows
            yield batch.sql
        self._guard.after_reading(session, table)
        self.rows = rows


class TextStream:
    """A script that was read when the snapshot was taken."""

    rows: int | None = None
    members: Sequence[Member] = ()

    def __init__(self, text: bytes) -> None:
        self._text = text

    def __iter__(self) -> Iterator[Buffer]:
        return iter((self._text,))


class MysqlSnapshot:
    """One moment of one database; made by `MysqlSource.open`."""

    consistency = Consistency.SNAPSHOT

    def __init__(
        self,
        *,
        server: Server,
        moment: Moment,
        contents: Contents,
        pool: Pool,
        limits: Limits,
        guard: Guarded,
    ) -> None:
        self.server = server
        self.tools: dict[str, str] = {}
        self._moment = moment
        self._contents = contents
        self._pool = pool
        self._limits = limits
        self._guard = guard

    @property
    def taken_at(self) -> datetime:
        return self._moment.taken_at

    @property
    def proof(self) -> dict[str, str]:
        return dict(self._moment.proof)

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
            stream = TableStream(
                session, self._contents.tables[part.name], self._limits, self._guard
            )
            try:
                yield stream
            finally:
                stream.end()

    def abort(self) -> None:
        self._pool.abandon()
