"""Begins and ends database sessions that hold a base backup or an exported snapshot."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

import psycopg

from holdfast.model.errors import (
    BackupFailed,
    DatabaseUnreachable,
    GrantMissing,
    HoldfastError,
    SessionCorrupt,
    SessionLost,
    SnapshotLost,
)
from holdfast.model.wal import Position, segment_name
from holdfast.ports.sessions import Anchor, Begun, Ended, HeldKind
from holdfast.runtime import events
from holdfast.runtime.cleanup import on_failure, waiting_for
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.failures import INSUFFICIENT_PRIVILEGE
from holdfast.sources.postgres.server.login import Login, end
from holdfast.sources.postgres.server.shared_snapshot import take_snapshot
from holdfast.sources.postgres.server.sql_text import identifier

# The release that renamed the functions to pg_backup_start and pg_backup_stop, and removed the
# exclusive mode.
RENAMED = 150000
SLOT_PREFIX = "holdfast_"
WAL_LEVEL = "55000"

# The last checkpoint of a server that was just promoted is still of the old timeline. The names of
# the WAL files that it writes are of the new one.
TIMELINE = """
CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
     ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END
"""
_ANCHOR = f"""
SELECT (SELECT system_identifier FROM pg_control_system())::text, {TIMELINE},
       pg_postmaster_start_time(), pg_is_in_recovery()
"""  # noqa: S608  # of constants


def anchor(connection: psycopg.Connection) -> Anchor:
    """The identity of the server now; raises what psycopg raises."""
    row = connection.execute(_ANCHOR.encode()).fetchone()
    if row is None:
        raise psycopg.OperationalError("the server did not return its properties")
    system_identifier, timeline, started_at, is_standby = row
    return Anchor(
        system_identifier=system_identifier,
        timeline=timeline,
        started_at=started_at,
        is_standby=is_standby,
    )


def begin_backup(connection: psycopg.Connection, label: str, *, fast: bool) -> str:
    """Begin a base backup; returns the LSN that a restore replays from.

    Raises what psycopg raises.
    """
    begin = (
        "SELECT pg_backup_start(%s, %s)::text"
        if connection.info.server_version >= RENAMED
        else "SELECT pg_start_backup(%s, %s, false)::text"
    )
    row = connection.execute(begin.encode(), [label, fast]).fetchone()
    if row is None:
        raise psycopg.OperationalError("the server did not begin the backup")
    return str(row[0])


def end_backup(connection: psycopg.Connection) -> Ended:
    """End the base backup without waiting for the archiver: the backup copies its WAL itself.

    Raises what psycopg raises.
    """
    end = (
        "SELECT lsn::text, labelfile, spcmapfile FROM pg_backup_stop(false)"
        if connection.info.server_version >= RENAMED
        else "SELECT lsn::text, labelfile, spcmapfile FROM pg_stop_backup(false, false)"
    )
    row = connection.execute(end.encode()).fetchone()
    if row is None:
        raise psycopg.OperationalError("the server did not end the backup")
    stop_lsn, label, spaces = row
    return Ended(stop_lsn=stop_lsn, backup_label=label, tablespace_map=spaces or "")


def reserve_wal(connection: psycopg.Connection) -> str:
    """Create a temporary slot that keeps WAL while this session lives; returns its name, or "".

    Without a slot the server may recycle the WAL of a long backup, which then fails at its end.
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
    """The error for a session that could not begin, with its remedy."""
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
        return DatabaseUnreachable(message, hint="try again later")
    return BackupFailed(message, hint="the server's log has the details")


AGAIN = "delete what was copied, and begin again"
_TIMELINE = re.compile(r"^START TIMELINE: (\d+)$", re.MULTILINE)
_SEGMENT_BYTES = "SELECT pg_size_bytes(current_setting('wal_segment_size'))"


class PostgresHolder:
    """Obeys `ports.sessions.Holder`; each session is one connection of this process."""

    def __init__(self, login: Login) -> None:
        self._login = login

    @property
    def server(self) -> str:
        return self._login.server

    def begin(
        self, kind: HeldKind, *, label: str, fast: bool, database: str = ""
    ) -> PostgresHolding:
        login = self._login.in_database(database) if database else self._login
        holding = self._begin(login, kind, label, fast=fast)
        # One retry is enough: a server is promoted only once.
        return holding or self._require(self._begin(login, kind, label, fast=fast))

    def _begin(
        self, login: Login, kind: HeldKind, label: str, *, fast: bool
    ) -> PostgresHolding | None:
        """Begin a session; None if a promotion has made the backup of a standby invalid."""
        connection = login.connect()
        waiting_for("waiting for the checkpoint that a base backup begins with")
        with on_failure(end, connection):
            try:
                was_standby = anchor(connection).is_standby
                begun = self._begun(connection, kind, label, fast=fast)
            except psycopg.Error as error:
                raise beginning_failed(error, login.user, self.server) from error
        holding = PostgresHolding(login, connection, begun)
        if kind is HeldKind.BACKUP and was_standby and not begun.anchor.is_standby:
            holding.abort()
            return None
        return holding

    def _require(self, holding: PostgresHolding | None) -> PostgresHolding:
        if holding is None:
            raise SessionCorrupt(
                f"cannot begin a backup on '{self.server}': it was promoted while the backup began",
                hint=AGAIN,
            )
        return holding

    def join(self, session_id: str) -> PostgresHolding:
        """Always raises `SnapshotLost`: a session of this holder ends with its process."""
        raise SnapshotLost(
            f"cannot rejoin session '{session_id}': it ended with the run that began it"
        )

    def left(self) -> Sequence[str]:
        """Always empty, for the same reason."""
        return ()

    def forget(self, session_id: str) -> None:
        """Does nothing: the session ended with its process."""

    def _begun(
        self, connection: psycopg.Connection, kind: HeldKind, label: str, *, fast: bool
    ) -> Begun:
        begun_at = datetime.now(UTC)
        pid = connection.info.backend_pid
        if kind is HeldKind.SNAPSHOT:
            login = self._login.in_database(connection.info.dbname)
            exported = take_snapshot(connection, login, user=self._login.user)
            return Begun(
                kind=kind,
                anchor=anchor(connection),
                begun_at=exported.taken_at.astimezone(UTC),
                backend_pid=pid,
                start_lsn=exported.lsn,
                snapshot=exported.name,
            )
        # Before the backup begins: otherwise the WAL of its start could be recycled first.
        slot = reserve_wal(connection)
        lsn = begin_backup(connection, label or "holdfast", fast=fast)
        events.reached("backup-begun")
        # Read after the begin: a promotion during the wait for the checkpoint must show here.
        found = anchor(connection)
        row = connection.execute(_SEGMENT_BYTES).fetchone()
        segment_bytes = int(row[0]) if row else 0
        return Begun(
            kind=kind,
            anchor=found,
            begun_at=begun_at,
            backend_pid=pid,
            start_lsn=lsn,
            start_wal_file=segment_name(
                found.timeline, Position.parse(lsn), segment_bytes=segment_bytes
            ),
            slot=slot,
        )


class PostgresHolding:
    """Obeys `ports.sessions.Holding`."""

    session_id = ""
    ended = None

    def __init__(self, login: Login, connection: psycopg.Connection, begun: Begun) -> None:
        self._login = login
        self._connection = connection
        self._cause = ""
        self.begun = begun

    def look(self) -> None:
        try:
            found = anchor(self._connection)
        except psycopg.Error as error:
            self._explain(error)
        else:
            self._compare(found)

    def end(self) -> Ended:
        self.look()
        try:
            ended = Ended()
            if self.begun.kind is HeldKind.BACKUP:
                ended = end_backup(self._connection)
        except psycopg.Error as error:
            self._explain(error)
        self._require_timeline(ended)
        return ended

    def _require_timeline(self, ended: Ended) -> None:
        """Raises `SessionCorrupt` if the label names another timeline than the one at the begin."""
        told = _TIMELINE.search(ended.backup_label)
        if told and int(told[1]) != self.begun.anchor.timeline:
            raise SessionCorrupt(
                f"cannot use the session on '{self._login.server}': it began on timeline"
                f" {told[1]}, not on {self.begun.anchor.timeline}",
                hint=AGAIN,
            )

    def abort(self) -> None:
        """Close the session: the server then aborts its backup and drops its temporary slot."""
        with suppress(psycopg.Error):
            self._connection.close()

    def _explain(self, error: psycopg.Error) -> None:
        """Close the failed session, and ask the server in a new one why it failed; always raises.

        Raises `SessionCorrupt` if the server was restarted, promoted or replaced, `SessionLost` if
        not, and `DatabaseUnreachable` if it does not answer.
        """
        self._cause = self._cause or failures.said(error)
        self.abort()
        try:
            with self._login.session() as probe:
                found = anchor(probe)
        except psycopg.Error as silent:
            raise DatabaseUnreachable(f"{self._lost()}, and it does not answer") from silent
        except DatabaseUnreachable as silent:
            raise DatabaseUnreachable(f"{self._lost()}, and it does not answer") from silent
        self._compare(found)
        raise SessionLost(self._lost(), hint=AGAIN) from error

    def _lost(self) -> str:
        return f"cannot use the session on '{self._login.server}': {self._cause}"

    def _compare(self, found: Anchor) -> None:
        """Raises `SessionCorrupt` if the server was replaced or restarted since.

        Also raises for a backup if the server was promoted or changed its timeline; a snapshot
        survives both.
        """
        was = self.begun.anchor
        if found.system_identifier != was.system_identifier:
            change = "another cluster answers there now"
        elif found.started_at != was.started_at:
            change = f"it was restarted at {found.started_at:%Y-%m-%d %H:%M:%SZ}"
        elif self.begun.kind is HeldKind.SNAPSHOT:
            return
        elif was.is_standby and not found.is_standby:
            change = "it was promoted from standby to primary"
        elif found.timeline != was.timeline:
            change = f"it went from timeline {was.timeline} to {found.timeline}"
        else:
            return
        raise SessionCorrupt(
            f"cannot use the session on '{self._login.server}': {change}", hint=AGAIN
        )
