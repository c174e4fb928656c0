"""A snapshot held by a pool of sessions, and the parts that are read from it."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from holdfast.model.backup import Consistency, PartPlan, Server
from holdfast.model.errors import HoldfastError, SnapshotLost
from holdfast.ports.source import PartStream
from holdfast.runtime.cleanup import afterwards
from holdfast.sources.mysql.rows.consistent_snapshot import SAVEPOINT, ConsistentSnapshot
from holdfast.sources.mysql.rows.insert_text import Limits
from holdfast.sources.mysql.rows.streams import Guarded, RowsStream, Summing, TextStream
from holdfast.sources.mysql.server.failures import ConnectionLost
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Where each part comes from: the rows of tables, or a text that is already here."""

    plans: tuple[PartPlan, ...]
    tables: Mapping[str, tuple[Table, ...]]
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
        with afterwards(self._give_back, session):
            try:
                yield session
            except ConnectionLost as error:
                session.cut()
                raise _lost(error.message) from error

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


class MysqlSnapshot:
    """One moment of one database; made by `MysqlSource.open`."""

    consistency = Consistency.SNAPSHOT

    def __init__(
        self,
        *,
        server: Server,
        moment: ConsistentSnapshot,
        contents: Contents,
        pool: Pool,
        limits: Limits,
        guard: Guarded,
        summing: Summing,
        notes: Sequence[str] = (),
    ) -> None:
        self.server = server
        self.tools: dict[str, str] = {}
        self._notes = tuple(notes)
        self._moment = moment
        self._contents = contents
        self._pool = pool
        self._limits = limits
        self._guard = guard
        self._summing = summing

    @property
    def taken_at(self) -> datetime:
        return self._moment.taken_at

    @property
    def proof(self) -> dict[str, str]:
        told = self._summing.json_told
        return self._moment.proof | ({"json_changed": told} if told else {})

    @property
    def notes(self) -> Sequence[str]:
        """What will not come back as it is; all of it once every part was read."""
        told = self._summing.json_told
        changed = f"JSON with values of types that only their text comes back of: {told}"
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
            with afterwards(stream.end):
                yield stream

    def abort(self) -> None:
        self._pool.abandon()
