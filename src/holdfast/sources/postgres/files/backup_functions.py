"""What is asked of a server around a base backup, in the words of each of its versions."""

from __future__ import annotations

import secrets

import psycopg

from holdfast.model.errors import BackupFailed, DatabaseUnreachable, GrantMissing, HoldfastError
from holdfast.ports.sessions import Anchor, Ended
from holdfast.runtime import events
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.failures import INSUFFICIENT_PRIVILEGE
from holdfast.sources.postgres.server.sql_text import identifier

# pg_backup_start and pg_backup_stop have these names, and no other mode, from here on.
RENAMED = 150000
SLOT_PREFIX = "holdfast_"
WAL_LEVEL = "55000"

# A server that was just promoted has no checkpoint of its new timeline yet; what it writes is
# called by it already.
TIMELINE = """
CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
     ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END
"""
_ANCHOR = f"""
SELECT (SELECT system_identifier FROM pg_control_system())::text, {TIMELINE},
       pg_postmaster_start_time(), pg_is_in_recovery()
"""  # noqa: S608  # of constants


def anchor(connection: psycopg.Connection) -> Anchor:
    """What the server is now; raises what psycopg raises."""
    row = connection.execute(_ANCHOR.encode()).fetchone()
    if row is None:
        raise psycopg.OperationalError("the server does not know itself")
    system_identifier, timeline, started_at, is_standby = row
    return Anchor(
        system_identifier=system_identifier,
        timeline=timeline,
        started_at=started_at,
        is_standby=is_standby,
    )


def begin_backup(connection: psycopg.Connection, label: str, *, fast: bool) -> str:
    """The LSN that a restore has to replay from; raises what psycopg raises."""
    begin = (
        "SELECT pg_backup_start(%s, %s)::text"
        if connection.info.server_version >= RENAMED
        else "SELECT pg_start_backup(%s, %s, false)::text"
    )
    row = connection.execute(begin.encode(), [label, fast]).fetchone()
    if row is None:
        raise psycopg.OperationalError("the server began no backup")
    return str(row[0])


def end_backup(connection: psycopg.Connection) -> Ended:
    """Does not wait for the archiver: whoever copies collects the WAL itself."""
    end = (
        "SELECT lsn::text, labelfile, spcmapfile FROM pg_backup_stop(false)"
        if connection.info.server_version >= RENAMED
        else "SELECT lsn::text, labelfile, spcmapfile FROM pg_stop_backup(false, false)"
    )
    row = connection.execute(end.encode()).fetchone()
    if row is None:
        raise psycopg.OperationalError("the server ended no backup")
    stop_lsn, label, spaces = row
    return Ended(stop_lsn=stop_lsn, backup_label=label, tablespace_map=spaces or "")


def reserve_wal(connection: psycopg.Connection) -> str:
    """A slot that keeps WAL for as long as this session lives; empty where none is to be had.

    Without one the WAL may be recycled under a long backup, which is found at its end.
    """
    name = SLOT_PREFIX + secrets.token_hex(8)
    try:
        connection.execute("SELECT pg_create_physical_replication_slot(%s, true, true)", [name])
    except psycopg.Error as error:
        if connection.closed:
            raise
        events.warning("wal_not_reserved", reason=failures.said(error))
        return ""
    return name


def beginning_failed(error: psycopg.Error, user: str, server: str) -> HoldfastError:
    """What kept a session from beginning, with its remedy."""
    message = f"cannot begin a backup on '{server}': {failures.said(error)}"
    if error.sqlstate == INSUFFICIENT_PRIVILEGE:
        role = identifier(user)
        return GrantMissing(
            message,
            hint="GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean),"
            f" pg_backup_stop(boolean), pg_switch_wal() TO {role};"
            " before PostgreSQL 15: pg_start_backup(text, boolean, boolean),"
            " pg_stop_backup(boolean, boolean)",
        )
    if error.sqlstate == WAL_LEVEL:
        return BackupFailed(
            message, hint="set wal_level = replica in postgresql.conf and restart the server"
        )
    if isinstance(error, psycopg.OperationalError):
        return DatabaseUnreachable(message, hint="trying later may work")
    return BackupFailed(message, hint="the server's log has the details")
