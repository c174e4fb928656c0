"""The sessions that share one snapshot: lent out one by one, never quietly replaced."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
from psycopg.pq import TransactionStatus

from holdfast.cleanup import afterwards
from holdfast.errors import HoldfastError, SnapshotLost
from holdfast.sources.postgres_native import failures
from holdfast.sources.postgres_native.login import Login
from holdfast.sources.postgres_native.quoting import literal

BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_SEEN = "SELECT pg_current_snapshot()::text"
_RUN_AGAIN = "run the backup again"


class Sessions:
    """Sessions inside the snapshot `snapshot`, which shows `seen`."""

    def __init__(self, *, snapshot: str, seen: str) -> None:
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
    def lent(self, subject: str) -> Iterator[psycopg.Connection]:
        """One session for `subject`; given back only if it still sees the snapshot."""
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
