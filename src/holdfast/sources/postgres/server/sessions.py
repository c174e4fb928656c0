"""The sessions that share one snapshot: lent out one by one, never quietly replaced."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import psycopg
from psycopg.pq import TransactionStatus

from holdfast.model.backup import Relation
from holdfast.model.errors import HoldfastError, SnapshotLost
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.locks import locked
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.quoting import literal, qualified

BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_SEEN = "SELECT pg_current_snapshot()::text"
_RUN_AGAIN = "run the backup again"
TABLES_PER_LOCK = 100
_READ = "holdfast_read"


class Sessions:
    """Sessions inside the snapshot `snapshot`, which shows `seen`.

    The one that took it, `held`, has locked every table: what others cannot lock, because
    somebody queues for it exclusively, is read through that one.
    """

    def __init__(self, held: psycopg.Connection, *, snapshot: str, seen: str) -> None:
        self._held = held
        self._turn = threading.Lock()
        self._snapshot = snapshot
        self._seen = seen
        self._idle: queue.SimpleQueue[psycopg.Connection] = queue.SimpleQueue()
        self.count = 0

    @contextmanager
    def opened(self, login: Login, *, count: int) -> Iterator[None]:
        """Open `count` of them, each proven to see what the holder sees; closed after the block."""
        with ExitStack() as stack:
            for _ in range(count):
                connection = stack.enter_context(login.session())
                self._join(connection)
                self._idle.put(connection)
                self.count += 1
            yield

    @contextmanager
    def lent(self, subject: str, tables: Sequence[Relation] = ()) -> Iterator[psycopg.Connection]:
        """One session for `subject`, in which `tables` can be read without waiting for anybody."""
        with self._any(subject) as connection:
            with _translated(connection, subject):
                can_read = _can_read(connection, tables)
            if can_read:
                yield connection
                return
        events.info("read_through_holder", what=subject)
        with self._turn:
            with _translated(self._held, subject):
                self._held.execute(f"SAVEPOINT {_READ}".encode())
            # Whatever becomes of the read, the transaction with the snapshot and its locks goes on.
            with afterwards(_take_back, self._held, subject):
                yield self._held

    @contextmanager
    def _any(self, subject: str) -> Iterator[psycopg.Connection]:
        """One of the workers' sessions; given back only if it still sees the snapshot."""
        try:
            connection = self._idle.get_nowait()
        except queue.Empty as error:
            raise SnapshotLost(
                f"cannot read {subject}: no session with the snapshot is left", hint=_RUN_AGAIN
            ) from error
        with afterwards(self._give_back, connection):
            yield connection

    def _give_back(self, connection: psycopg.Connection) -> None:
        if self._is_usable(connection):
            self._idle.put(connection)

    def _is_usable(self, connection: psycopg.Connection) -> bool:
        status = connection.info.transaction_status
        if status == TransactionStatus.INTRANS:
            return True
        if status != TransactionStatus.INERROR:
            connection.close()
            return False
        try:
            connection.execute("ROLLBACK")
            self._join(connection)
        except HoldfastError:
            connection.close()
            return False
        return True

    def _join(self, connection: psycopg.Connection) -> None:
        try:
            connection.execute(BEGIN)
            connection.execute(f"SET TRANSACTION SNAPSHOT {literal(self._snapshot)}".encode())
            row = connection.execute(_SEEN).fetchone()
        except psycopg.Error as error:
            raise SnapshotLost(
                f"cannot join snapshot '{self._snapshot}': {failures.said(error)}", hint=_RUN_AGAIN
            ) from error
        if row is None or row[0] != self._seen:
            raise SnapshotLost(
                f"cannot join snapshot '{self._snapshot}': the session sees"
                f" '{row[0] if row else ''}' instead of '{self._seen}'",
                hint="connect to the server itself, not through a connection pool",
            )


def _can_read(connection: psycopg.Connection, tables: Sequence[Relation]) -> bool:
    """Whether all of them could be locked at once; what could stays so, as reading them needs."""
    for first in range(0, len(tables), TABLES_PER_LOCK):
        batch = tables[first : first + TABLES_PER_LOCK]
        if not locked(
            connection, ", ".join(f"ONLY {qualified(each)}" for each in batch), seconds=0
        ):
            return False
    return True


def _take_back(held: psycopg.Connection, subject: str) -> None:
    if not held.closed:
        with _translated(held, subject):
            held.execute(f"ROLLBACK TO SAVEPOINT {_READ}; RELEASE SAVEPOINT {_READ}".encode())


@contextmanager
def _translated(connection: psycopg.Connection, subject: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        gone = failures.session_is_gone(error, connection)
        raise failures.reading(error, subject, gone=gone) from error
