"""What is looked at before a backup starts; the first thing missing is named with its remedy."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from holdfast.model.backup import Relation
from holdfast.model.errors import GrantMissing, HoldfastError, Unsupported
from holdfast.ports.source import Finding
from holdfast.sources.postgres.server import catalog_queries
from holdfast.sources.postgres.server.catalog_queries import Facts
from holdfast.sources.postgres.server.client_programs import Tool
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.sql_text import identifier, qualified

# TID range scans, idle_session_timeout and pg_read_all_data begin here.
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
# Per database and per role the limits are -1 where there is none.
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


def require_supported(found: Facts) -> None:
    if found.version_number < OLDEST_SERVER:
        raise Unsupported(
            f"cannot back up '{found.database}': server {found.version} is older than 14",
            hint="upgrade the server, or use pg_dump by hand",
        )


def require_grants(connection: psycopg.Connection, found: Facts) -> None:
    """Raises `GrantMissing` for the first right that is missing."""
    # Foreign tables' rows are not taken, so no right on them is needed.
    oids = [each.oid for each in catalog_queries.lockable(connection)]
    sequences = [each.oid for each in catalog_queries.sequences(connection)]
    unreadable = connection.execute(_UNREADABLE, [oids + sequences]).fetchall()
    if unreadable:
        raise _unreadable(unreadable, found)
    filtered = connection.execute(_FILTERED, [oids]).fetchall()
    if filtered:
        raise _filtered(filtered, found)
    if found.has_large_objects and not found.is_superuser:
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
    """A server that lets nobody export one says so now."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute("SELECT pg_export_snapshot()")


def lag_seconds(login: Login) -> float | None:
    """How far this standby, or the one furthest behind this primary, is; None if unseen."""
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
    """What was found where all is well."""
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
