"""How a server's own archiver fares, as it counts itself."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg

from holdfast.model.wal_archive import Archiver
from holdfast.sources.postgres.files import cluster
from holdfast.sources.postgres.server.login import Login

_STATE = """
SELECT (SELECT system_identifier FROM pg_control_system())::text,
       current_setting('archive_mode'), pg_is_in_recovery(),
       current_setting('archive_command') NOT IN ('', '(disabled)')
         OR coalesce(current_setting('archive_library', true), '') <> '',
       archived_count, coalesce(last_archived_wal, ''), last_archived_time,
       failed_count, coalesce(last_failed_wal, ''), last_failed_time, stats_reset, now()
FROM pg_stat_archiver
"""
_WAITING = """
SELECT count(*), min(modification) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'
"""


def archiver(login: Login) -> Archiver:
    """Raises what `cluster.session` raises."""
    with cluster.session(login) as connection:
        row = connection.execute(_STATE).fetchone()
        if row is None:
            raise psycopg.OperationalError("the server does not know its archiver")
        waiting, waiting_since = _waiting(connection)
    identifier, mode, is_standby, is_told_how, *counted = row
    archived, last, last_at, failed, last_failed, last_failed_at, since, now = counted
    return Archiver(
        cluster=identifier,
        mode=mode,
        is_standby=is_standby,
        is_told_how=is_told_how,
        archived=archived,
        last_archived=last,
        last_archived_at=last_at,
        failed=failed,
        last_failed=last_failed,
        last_failed_at=last_failed_at,
        counted_since=since,
        waiting=waiting,
        waiting_since=waiting_since,
        now=now,
    )


def _waiting(connection: psycopg.Connection) -> tuple[int, Any]:
    """Segments that are ready, and since when; a login outside of pg_monitor may not see them."""
    with suppress(psycopg.errors.InsufficientPrivilege):
        row = connection.execute(_WAITING).fetchone()
        if row is not None:
            return row[0], row[1]
    return 0, None
