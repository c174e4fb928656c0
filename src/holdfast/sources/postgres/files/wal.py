"""Checks WAL segments in a server's own folder, and asks how the server archives them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from holdfast.model.errors import BackupFailed
from holdfast.model.wal import HEADER_BYTES, SegmentHeader
from holdfast.model.wal_archive import Archiver
from holdfast.sources.postgres.files import cluster
from holdfast.sources.postgres.server.login import Login


def require_segment(path: Path, *, segment_bytes: int, system_identifier: str) -> None:
    """Raises `BackupFailed` unless `path` holds the complete segment that its name promises."""
    try:
        with path.open("rb") as file:
            header = SegmentHeader.parse(file.read(HEADER_BYTES))
        size_bytes = path.stat().st_size
    except FileNotFoundError as error:
        raise _missing(path, "the server has removed it already") from error
    except OSError as error:
        raise _missing(path, str(error.strerror)) from error
    if size_bytes != segment_bytes or header is None:
        raise _missing(path, f"it has {size_bytes} bytes, a segment has {segment_bytes}")
    problem = header.problem(path.name, size_bytes=size_bytes, system_identifier=system_identifier)
    if problem:
        raise _missing(path, problem)


def _missing(path: Path, cause: str) -> BackupFailed:
    return BackupFailed(
        f"cannot collect WAL segment '{path.name}', which this backup needs: {cause}",
        hint="allow the login a replication slot (REPLICATION, max_replication_slots),"
        " or raise wal_keep_size",
    )


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
    """The state of the server's archiver; raises what `cluster.session` raises."""
    with cluster.session(login) as connection:
        row = connection.execute(_STATE).fetchone()
        if row is None:
            raise psycopg.OperationalError("the server did not return the state of its archiver")
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
    """The number of segments that wait, and since when; 0 for a login outside of pg_monitor."""
    with suppress(psycopg.errors.InsufficientPrivilege):
        row = connection.execute(_WAITING).fetchone()
        if row is not None:
            return row[0], row[1]
    return 0, None
