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
from holdfast.sources.postgres.files.archiver import STATE, WAITING, archiver_in
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


def archiver(login: Login) -> Archiver:
    """The state of the server's archiver; raises what `cluster.session` raises."""
    with cluster.session(login) as connection:
        row = connection.execute(STATE).fetchone()
        if row is None:
            raise psycopg.OperationalError("the server did not return the state of its archiver")
        return archiver_in(row, _waiting(connection))


def _waiting(connection: psycopg.Connection) -> tuple[int, Any]:
    """The number of segments that wait, and since when; 0 for a login outside of pg_monitor."""
    with suppress(psycopg.errors.InsufficientPrivilege):
        row = connection.execute(WAITING).fetchone()
        if row is not None:
            return row[0], row[1]
    return 0, None
