"""One snapshot and the sessions that share it.

The session that takes the snapshot first locks every table that it will show. Sessions that join
it are lent out one at a time and never silently replaced.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from holdfast.model.backup import Relation
from holdfast.model.errors import BackupFailed, HoldfastError, SnapshotLost
from holdfast.model.lazy_dataclass import dataclass
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards
from holdfast.sources.postgres.server import catalog_queries, failures
from holdfast.sources.postgres.server.catalog_queries import Named
from holdfast.sources.postgres.server.failures import LockTimedOut
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.preflight import Queue, locked
from holdfast.sources.postgres.server.sql_text import literal, qualified

BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_VISIBLE = "SELECT pg_current_snapshot()::text"
_RUN_AGAIN = "run the backup again"
TABLES_READ_AT_ONCE = 100
_READ = "holdfast_read"

TABLES_PER_LOCK = 500
ATTEMPTS = 5
UNDEFINED_TABLE = "42P01"
UNDEFINED_SCHEMA = "3F000"
_SEEN = """
SELECT pg_current_snapshot()::text,
       pg_snapshot_xmin(pg_current_snapshot())::text, pg_snapshot_xmax(pg_current_snapshot())::text,
       (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
             ELSE pg_current_wal_insert_lsn() END)::text,
       clock_timestamp()
"""
_EXPORT = _SEEN.replace("SELECT", "SELECT pg_export_snapshot(),", 1)

Begun = TypeVar("Begun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """An exported snapshot, as the server describes it."""

    name: str
    seen: str
    xmin: str
    xmax: str
    lsn: str
    taken_at: datetime


def take_snapshot(connection: psycopg.Connection, login: Login, *, user: str) -> Exported:
    """Lock every table against change, then take the snapshot; it lives as long as this session.

    TRUNCATE and ALTER TABLE do not respect older snapshots, so a table that is locked only
    afterwards may be read as empty. If a table appears or disappears between listing and locking,
    all is repeated, at most `ATTEMPTS` times. Conflicting locks of other sessions are waited for.
    Raises `BackupFailed`.
    """
    waiting = Queue(login)
    for _ in range(ATTEMPTS):
        listed = catalog_queries.lockable(connection)
        connection.execute(BEGIN)
        if _lock(connection, listed, waiting, user=user):
            exported = _export(connection)
            if _oids(catalog_queries.lockable(connection)) == _oids(listed):
                return exported
        connection.execute("ROLLBACK")
    raise BackupFailed(
        f"cannot take a snapshot of database '{login.database}': tables were created or"
        f" dropped during each of {ATTEMPTS} attempts to lock them all",
        hint="run the backup when fewer tables are created and dropped",
    )


def rejoin_snapshot(
    connection: psycopg.Connection, login: Login, name: str, *, user: str
) -> Exported:
    """Import snapshot `name`, which another session still holds. Raises `SnapshotLost`."""
    connection.execute(BEGIN)
    try:
        connection.execute(f"SET TRANSACTION SNAPSHOT {literal(name)}".encode())
    except psycopg.Error as error:
        connection.execute("ROLLBACK")
        raise SnapshotLost(
            f"cannot rejoin snapshot '{name}': no session holds it: {failures.said(error)}"
        ) from error
    listed = catalog_queries.lockable(connection)
    if not _lock(connection, listed, Queue(login), user=user):
        raise SnapshotLost(f"cannot rejoin snapshot '{name}': one of its tables was dropped")
    row = connection.execute(_SEEN).fetchone()
    if row is None:
        raise psycopg.OperationalError("the server did not return its snapshot")
    seen, xmin, xmax, lsn, taken_at = row
    return Exported(name=name, seen=seen, xmin=xmin, xmax=xmax, lsn=lsn, taken_at=taken_at)


def begun_under_snapshot(
    held: psycopg.Connection,
    login: Login,
    *,
    take: Callable[[], Exported],
    begin: Callable[[Exported], Begun],
) -> tuple[Exported, Begun]:
    """Take a snapshot in `held` with `take`, start its readers with `begin`, and return both.

    A session that queues for an exclusive lock waits for all current holders, and later sessions
    wait behind it. So `begin` must leave every reader with its locks. If another session queues
    first, all locks are released, that session is waited for, and both steps are repeated.
    """
    waiting = Queue(login)
    while True:
        exported = take()
        try:
            return exported, begin(exported)
        except LockTimedOut:
            # The queuing session waits for our locks: without the rollback both would wait forever.
            held.execute("ROLLBACK")
            waiting.wait()


def _oids(tables: Sequence[Named]) -> set[int]:
    return {table.oid for table in tables}


def _lock(
    connection: psycopg.Connection, tables: Sequence[Named], waiting: Queue, *, user: str
) -> bool:
    """Lock `tables`; False if one of them no longer exists."""
    for first in range(0, len(tables), TABLES_PER_LOCK):
        batch = tables[first : first + TABLES_PER_LOCK]
        try:
            waiting.lock(connection, [table.relation for table in batch])
        except psycopg.Error as error:
            if error.sqlstate in (UNDEFINED_TABLE, UNDEFINED_SCHEMA):
                return False
            raise _not_locked(error, connection, user=user) from error
    return True


def _not_locked(
    error: psycopg.Error, connection: psycopg.Connection, *, user: str
) -> HoldfastError:
    database = connection.info.dbname
    if error.sqlstate == "53200":
        return BackupFailed(
            f"cannot lock the tables of database '{database}': {failures.said(error)}",
            hint="raise max_locks_per_transaction in postgresql.conf and restart the server",
        )
    gone = failures.session_is_gone(error, connection)
    return failures.reading(error, f"tables of database '{database}'", gone=gone, user=user)


def _export(connection: psycopg.Connection) -> Exported:
    row = connection.execute(_EXPORT).fetchone()
    if row is None:
        raise psycopg.OperationalError("the server exported no snapshot")
    name, seen, xmin, xmax, lsn, taken_at = row
    return Exported(name=name, seen=seen, xmin=xmin, xmax=xmax, lsn=lsn, taken_at=taken_at)


class Sessions:
    """Sessions inside the snapshot `snapshot`, which shows `seen`.

    `held`, the session that took it, has locked every table. If an exclusive lock request keeps
    the other sessions from locking a table, it is read through `held`.
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
        """Open `count` sessions, each proven to see what `held` sees; closed after the block."""
        with ExitStack() as stack:
            for _ in range(count):
                connection = stack.enter_context(login.session())
                self._join(connection)
                self._idle.put(connection)
                self.count += 1
            yield

    @contextmanager
    def lent(self, subject: str, tables: Sequence[Relation] = ()) -> Iterator[psycopg.Connection]:
        """Lend one session for `subject`, in which `tables` can be read without a lock wait."""
        with self._any(subject) as connection:
            with failures.translated(connection, subject):
                can_read = _can_read(connection, tables)
            if can_read:
                yield connection
                return
        events.info("read_through_holder", what=subject)
        with self._turn:
            with failures.translated(self._held, subject):
                self._held.execute(f"SAVEPOINT {_READ}".encode())
            # A failed read must not end the transaction that holds the snapshot and its locks.
            with afterwards(_take_back, self._held, subject):
                yield self._held

    @contextmanager
    def _any(self, subject: str) -> Iterator[psycopg.Connection]:
        """Lend a worker's session; it returns to the pool only if it still sees the snapshot."""
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
            joined = f"{BEGIN}; SET TRANSACTION SNAPSHOT {literal(self._snapshot)}; {_VISIBLE}"
            *_, visible = connection.execute(joined.encode()).results()
            row = visible.fetchone()
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
    """Whether all of them could be locked without waiting; the locks gained are kept."""
    for first in range(0, len(tables), TABLES_READ_AT_ONCE):
        batch = tables[first : first + TABLES_READ_AT_ONCE]
        if not locked(
            connection, ", ".join(f"ONLY {qualified(each)}" for each in batch), seconds=0
        ):
            return False
    return True


def _take_back(held: psycopg.Connection, subject: str) -> None:
    if not held.closed:
        with failures.translated(held, subject):
            held.execute(f"ROLLBACK TO SAVEPOINT {_READ}; RELEASE SAVEPOINT {_READ}".encode())
