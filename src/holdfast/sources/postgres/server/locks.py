"""Who is in the way: sessions that hold an exclusive lock on a table, or queue for one.

Behind one that queues everybody else waits too, so it is as much in the way as one that holds.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from holdfast.model.backup import Relation
from holdfast.model.errors import BackupFailed, HoldfastError
from holdfast.runtime import events
from holdfast.runtime.cleanup import waiting_for
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.sql_text import qualified

# A place in the queue is kept that long; then others are looked at, and it is taken anew.
TRY_SECONDS = 5
NAMED = 3
QUERY_SHOWN = 60
HINT = "end that session, or run the backup when no table is being altered; pg_locks has all locks"

_IN_THE_WAY = """
SELECT c.oid::bigint, n.nspname::text, c.relname::text, l.granted, coalesce(l.pid, 0),
       coalesce(a.query, '')
FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.pid IS DISTINCT FROM pg_backend_pid() AND c.relkind IN ('r', 'p', 'm', 'S')
  AND n.nspname !~ '^pg_'
ORDER BY n.nspname, c.relname, l.granted DESC, l.pid
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """One session, or prepared transaction (`pid` 0), with an exclusive lock, or waiting for it."""

    oid: int
    relation: Relation
    is_held: bool
    pid: int
    query: str

    def __str__(self) -> str:
        who = f"pid {self.pid} ({self._said})" if self.pid else "a prepared transaction"
        how = f"held by {who}" if self.is_held else f"which {who} waits to lock exclusively"
        return f"table '{self.relation}', {how}"

    @property
    def _said(self) -> str:
        said = " ".join(self.query.split()) or "its query cannot be seen"
        return said if len(said) <= QUERY_SHOWN else f"{said[:QUERY_SHOWN]}..."


def in_the_way(connection: psycopg.Connection) -> list[Blocker]:
    """Of all tables of the database; what is asked waits for nobody itself."""
    return [
        Blocker(
            oid=oid,
            relation=Relation(schema=schema, name=name),
            is_held=is_held,
            pid=pid,
            query=query,
        )
        for oid, schema, name, is_held, pid, query in connection.execute(_IN_THE_WAY)
    ]


def waits(blockers: Sequence[Blocker]) -> tuple[str, ...]:
    """What a backup would do now, in words for a plan."""
    return tuple(f"a backup would be waiting for lock on {each}" for each in blockers)


class Queue:
    """Waiting for locks of tables, for as long as `login` says in all, and saying for whom."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._began: float | None = None
        self._told = ""

    def lock(self, connection: psycopg.Connection, tables: Sequence[Relation]) -> None:
        """Lock them against change, in the transaction that is open. Raises `BackupFailed`.

        No query is asked in that transaction: it would see the moment of that, and a table that
        is changed before it is locked would then seem empty.
        """
        names = ", ".join(f"ONLY {qualified(table)}" for table in tables)
        while not locked(connection, names, seconds=0 if self._began is None else TRY_SECONDS):
            self.wait(tables)

    def wait(self, tables: Sequence[Relation] = ()) -> None:
        """Say for whom, of `tables` or of all, and raise `BackupFailed` once it was long enough."""
        now = time.monotonic()
        self._began = self._began or now
        found = self.told(tables)
        if now - self._began >= self._login.lock_wait_seconds:
            raise BackupFailed(
                f"cannot lock the tables of database '{self._login.database}': still waiting for"
                f" lock on {found} after {self._login.lock_wait_seconds} seconds",
                hint=HINT,
            )
        if found != self._told:
            self._told = found
            waiting_for(f"waiting for lock on {found}")
            events.warning(f"waiting for lock on {found}", database=self._login.database)

    def told(self, tables: Sequence[Relation]) -> str:
        """Who is in the way of `tables`, or of any, asked in a session of its own."""
        wanted = set(tables)
        try:
            with self._login.session() as connection:
                found = in_the_way(connection)
            found = [each for each in found if each.relation in wanted or not wanted]
        except (HoldfastError, psycopg.Error):
            found = []
        if not found:
            return "a table, held by a session that cannot be seen"
        shown = "; ".join(str(each) for each in found[:NAMED])
        return shown + (f"; and {len(found) - NAMED} more" if len(found) > NAMED else "")


def locked(connection: psycopg.Connection, names: str, *, seconds: int) -> bool:
    """Whether the tables of that SQL could be locked, at once or within `seconds`."""
    wait = f"SET LOCAL lock_timeout = '{seconds}s'; " if seconds else ""
    now = "" if seconds else " NOWAIT"
    try:
        with connection.transaction():
            lock = f"{wait}LOCK TABLE {names} IN ACCESS SHARE MODE{now}"
            connection.execute(lock.encode())
    except psycopg.errors.LockNotAvailable:
        return False
    return True
