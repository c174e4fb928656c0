"""The session that takes the snapshot, after it has locked what the snapshot will show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg

from holdfast.model.errors import BackupFailed, HoldfastError, SnapshotLost
from holdfast.sources.postgres.server import catalog_queries, failures
from holdfast.sources.postgres.server.catalog_queries import Named
from holdfast.sources.postgres.server.locks import Queue
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.quoting import literal
from holdfast.sources.postgres.server.sessions import BEGIN

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The snapshot in the server's own words."""

    name: str
    seen: str
    xmin: str
    xmax: str
    lsn: str
    taken_at: datetime


def take_snapshot(connection: psycopg.Connection, login: Login, *, user: str) -> Exported:
    """Lock every table against change, then take the snapshot; it lives as long as this session.

    TRUNCATE and ALTER TABLE do not respect snapshots older than themselves, so a table that is
    locked only afterwards may turn out empty. Where a table came or went between listing and
    locking, all is done again; where another session is in the way, it is waited for.
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
        f"cannot take a snapshot of database '{login.database}': tables came and went"
        f" {ATTEMPTS} times while they were being locked",
        hint="run the backup when fewer tables are created and dropped",
    )


def rejoin_snapshot(
    connection: psycopg.Connection, login: Login, name: str, *, user: str
) -> Exported:
    """See what `name` shows, which another session still holds. Raises `SnapshotLost`."""
    connection.execute(BEGIN)
    try:
        connection.execute(f"SET TRANSACTION SNAPSHOT {literal(name)}".encode())
    except psycopg.Error as error:
        connection.execute("ROLLBACK")
        raise SnapshotLost(
            f"nobody holds snapshot '{name}' any more: {failures.said(error)}"
        ) from error
    listed = catalog_queries.lockable(connection)
    if not _lock(connection, listed, Queue(login), user=user):
        raise SnapshotLost(f"a table that snapshot '{name}' shows was dropped")
    row = connection.execute(_SEEN).fetchone()
    if row is None:
        raise psycopg.OperationalError("the server does not know its own snapshot")
    seen, xmin, xmax, lsn, taken_at = row
    return Exported(name=name, seen=seen, xmin=xmin, xmax=xmax, lsn=lsn, taken_at=taken_at)


def _oids(tables: Sequence[Named]) -> set[int]:
    return {table.oid for table in tables}


def _lock(
    connection: psycopg.Connection, tables: Sequence[Named], waiting: Queue, *, user: str
) -> bool:
    """Whether all of them were still there."""
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
