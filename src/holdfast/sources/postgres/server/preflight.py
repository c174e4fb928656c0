"""Checks before a backup: version, privileges, free connections and conflicting locks.

The first missing privilege is reported with its remedy. A session blocks a backup if it holds an
exclusive lock on a table or queues for one: all later sessions wait behind it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import psycopg

from holdfast.model.backup import Relation
from holdfast.model.errors import (
    BackupFailed,
    GrantMissing,
    HoldfastError,
    Unsupported,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.ports.source import Finding
from holdfast.runtime import events
from holdfast.runtime.cleanup import waiting_for
from holdfast.sources.postgres.server import catalog_queries
from holdfast.sources.postgres.server.catalog_queries import Facts
from holdfast.sources.postgres.server.client_programs import Tool
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.sql_text import identifier, qualified

# The first version with TID range scans, idle_session_timeout and pg_read_all_data.
OLDEST_SERVER = 140000

_UNREADABLE = """
SELECT n.nspname::text, c.relname::text, has_schema_privilege(n.oid, 'USAGE')
FROM unnest(%s::oid[]) AS wanted (oid)
JOIN pg_class c ON c.oid = wanted.oid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT has_schema_privilege(n.oid, 'USAGE')
   OR NOT CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT')
                         ELSE has_table_privilege(c.oid, 'SELECT') END
ORDER BY n.nspname, c.relname
"""
_FILTERED = """
SELECT n.nspname::text, c.relname::text
FROM unnest(%s::oid[]) AS wanted (oid)
JOIN pg_class c ON c.oid = wanted.oid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relrowsecurity AND row_security_active(c.oid)
ORDER BY n.nspname, c.relname
"""
# Servers before 18 have no has_largeobject_privilege().
_UNREADABLE_LARGE_OBJECTS = """
SELECT m.oid::bigint FROM pg_largeobject_metadata m
WHERE NOT pg_has_role(m.lomowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM aclexplode(m.lomacl) AS acl
                  WHERE acl.privilege_type = 'SELECT'
                    AND (acl.grantee = 0 OR pg_has_role(acl.grantee, 'USAGE')))
  AND NOT current_setting('lo_compat_privileges')::bool
ORDER BY m.oid
"""
# The limits per database and per role are -1 where there is none.
_FREE = """
SELECT least(
    current_setting('max_connections')::int
      - current_setting('superuser_reserved_connections')::int
      - coalesce(current_setting('reserved_connections', true)::int, 0)
      - (SELECT sum(numbackends) FROM pg_stat_database),
    (SELECT CASE WHEN datconnlimit < 0 THEN 2147483647 ELSE datconnlimit
              - pg_stat_get_db_numbackends(oid) END
     FROM pg_database WHERE datname = current_database()),
    (SELECT CASE WHEN rolconnlimit < 0 THEN 2147483647 ELSE rolconnlimit
              - (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user) END
     FROM pg_roles WHERE rolname = current_user))::int
"""

# An idle primary sends nothing to replay, so a standby that has replayed all of it does not lag.
_LAG = """
SELECT CASE WHEN NOT pg_is_in_recovery()
            THEN (SELECT extract(epoch FROM max(replay_lag)) FROM pg_stat_replication)
            WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp()) END
"""

# How long one attempt queues for a lock; between attempts the blocking sessions are looked up.
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


def require_supported(found: Facts) -> None:
    if found.version_number < OLDEST_SERVER:
        raise Unsupported(
            f"cannot back up '{found.database}': server {found.version} is older than 14",
            hint="upgrade the server, or use pg_dump by hand",
        )


def require_grants(connection: psycopg.Connection, found: Facts) -> None:
    """Raises `GrantMissing` for the first missing privilege."""
    if found.is_superuser:
        # Nothing is hidden from it, and ten thousand tables take a third of a second to ask about.
        return
    # Rows of foreign tables are not backed up, so no privilege on them is needed.
    oids = [each.oid for each in catalog_queries.lockable(connection)]
    sequences = [each.oid for each in catalog_queries.sequences(connection)]
    unreadable = connection.execute(_UNREADABLE, [oids + sequences]).fetchall()
    if unreadable:
        raise _unreadable(unreadable, found)
    filtered = connection.execute(_FILTERED, [oids]).fetchall()
    if filtered:
        raise _filtered(filtered, found)
    if found.has_large_objects:
        hidden = [int(row[0]) for row in connection.execute(_UNREADABLE_LARGE_OBJECTS)]
        if hidden:
            raise _hidden_large_objects(hidden, found)


def _unreadable(rows: Sequence[tuple[str, str, bool]], found: Facts) -> HoldfastError:
    schema, name, may_use_schema = rows[0]
    relation = Relation(schema=schema, name=name)
    role = identifier(found.login)
    missing = "SELECT" if may_use_schema else "USAGE on its schema"
    narrow = (
        f"GRANT SELECT ON {qualified(relation)} TO {role}"
        if may_use_schema
        else f"GRANT USAGE ON SCHEMA {identifier(schema)} TO {role}"
    )
    return GrantMissing(
        f"cannot read '{relation}': role '{found.login}' lacks {missing}{_and_more(len(rows))}",
        hint=f"GRANT pg_read_all_data TO {role}; or for this one alone: {narrow}",
    )


def _filtered(rows: Sequence[tuple[str, str]], found: Facts) -> HoldfastError:
    relation = Relation(schema=rows[0][0], name=rows[0][1])
    return GrantMissing(
        f"cannot read all rows of '{relation}': row security would hide some from role"
        f" '{found.login}'{_and_more(len(rows))}",
        hint=f"ALTER ROLE {identifier(found.login)} BYPASSRLS",
    )


def _hidden_large_objects(oids: Sequence[int], found: Facts) -> HoldfastError:
    return GrantMissing(
        f"cannot read large object {oids[0]}: role '{found.login}' lacks SELECT"
        f"{_and_more(len(oids))}",
        hint=f"GRANT SELECT ON LARGE OBJECT {oids[0]} TO {identifier(found.login)}"
        " (and so for the others), or log in as their owner",
    )


def _and_more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""


def require_snapshot(connection: psycopg.Connection) -> None:
    """Export a snapshot on trial, so that a server that refuses this does so now."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute("SELECT pg_export_snapshot()")


def lag_seconds(login: Login) -> float | None:
    """Seconds that this standby, or this primary's slowest standby, lags; None if unknown."""
    try:
        with login.session() as connection:
            row = connection.execute(_LAG).fetchone()
    except (psycopg.Error, HoldfastError):
        return None
    return float(row[0]) if row and row[0] is not None else None


def connections_free(connection: psycopg.Connection) -> int:
    row = connection.execute(_FREE).fetchone()
    return max(0, int(row[0])) if row else 0


def findings(
    connection: psycopg.Connection, found: Facts, programs: Sequence[Tool]
) -> list[Finding]:
    """The findings of a check that found no problem."""
    place = "a standby" if found.is_standby else "a primary"
    tables = len(catalog_queries.lockable(connection))
    used = ", ".join(f"{tool.path.name} {tool.version}" for tool in programs)
    return [
        Finding(subject="server", detail=f"PostgreSQL {found.version}, {place}"),
        Finding(subject="login", detail=f"'{found.login}' in database '{found.database}'"),
        Finding(subject="grants", detail=f"all {tables} tables, sequences and large objects"),
        Finding(subject="tools", detail=used),
        Finding(subject="connections", detail=f"{connections_free(connection)} free"),
        Finding(subject="snapshot", detail="can be exported"),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """One session, or prepared transaction (`pid` 0), that holds or awaits an exclusive lock."""

    oid: int
    relation: Relation
    is_held: bool
    pid: int
    query: str

    def __str__(self) -> str:
        who = f"pid {self.pid} ({self._said})" if self.pid else "a prepared transaction"
        how = f"held by {who}" if self.is_held else f"which {who} is waiting to lock exclusively"
        return f"table '{self.relation}', {how}"

    @property
    def _said(self) -> str:
        said = " ".join(self.query.split()) or "its query cannot be seen"
        return said if len(said) <= QUERY_SHOWN else f"{said[:QUERY_SHOWN]}..."


def blocking(connection: psycopg.Connection) -> list[Blocker]:
    """The blockers of all tables of the database; the query itself waits for no lock."""
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
    """Notes for a plan: the locks that a backup would wait for now."""
    return tuple(f"a backup would wait for a lock on {each}" for each in blockers)


class Queue:
    """Waits for table locks, `login.lock_wait_seconds` in total, and reports who blocks them."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._began: float | None = None
        self._told = ""

    def lock(self, connection: psycopg.Connection, tables: Sequence[Relation]) -> None:
        """Lock `tables` against change, in the open transaction. Raises `BackupFailed`.

        That transaction runs no query: a query would fix its snapshot, and a table truncated
        before it is locked would then be read as empty.
        """
        names = ", ".join(f"ONLY {qualified(table)}" for table in tables)
        while not locked(connection, names, seconds=0 if self._began is None else TRY_SECONDS):
            self.wait(tables)

    def wait(self, tables: Sequence[Relation] = ()) -> None:
        """Report who blocks `tables`, or any; raise `BackupFailed` once the time is used up."""
        now = time.monotonic()
        self._began = self._began or now
        found = self.told(tables)
        if now - self._began >= self._login.lock_wait_seconds:
            raise BackupFailed(
                f"cannot lock the tables of database '{self._login.database}': still waiting"
                f" for a lock on {found} after {self._login.lock_wait_seconds} seconds",
                hint=HINT,
            )
        if found != self._told:
            self._told = found
            waiting_for(f"waiting for a lock on {found}")
            events.warning("waiting_for_lock", on=found, database=self._login.database)

    def told(self, tables: Sequence[Relation]) -> str:
        """Describe who blocks `tables`, or any table; queried in a separate session."""
        wanted = set(tables)
        try:
            with self._login.session() as connection:
                found = blocking(connection)
            found = [each for each in found if each.relation in wanted or not wanted]
        except (HoldfastError, psycopg.Error):
            found = []
        if not found:
            return "a table, held by a session that cannot be seen"
        shown = "; ".join(str(each) for each in found[:NAMED])
        return shown + (f"; and {len(found) - NAMED} more" if len(found) > NAMED else "")


def locked(connection: psycopg.Connection, names: str, *, seconds: int) -> bool:
    """Whether the tables of the SQL list `names` could be locked, at once or within `seconds`."""
    wait = f"SET LOCAL lock_timeout = '{seconds}s'; " if seconds else ""
    now = "" if seconds else " NOWAIT"
    try:
        with connection.transaction():
            lock = f"{wait}LOCK TABLE {names} IN ACCESS SHARE MODE{now}"
            connection.execute(lock.encode())
    except psycopg.errors.LockNotAvailable:
        return False
    return True
