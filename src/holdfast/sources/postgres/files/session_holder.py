"""Sessions that carry a base backup or an exported snapshot, as each server version begins them."""

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


AGAIN = "throw away what was copied, and begin again"
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
        # No server is promoted twice.
        return holding or self._require(self._begin(login, kind, label, fast=fast))

    def _begin(
        self, login: Login, kind: HeldKind, label: str, *, fast: bool
    ) -> PostgresHolding | None:
        """None where the server was promoted meanwhile: what it began as a standby is worthless."""
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
                f"cannot begin a backup on '{self.server}': it was promoted meanwhile", hint=AGAIN
            )
        return holding

    def join(self, session_id: str) -> PostgresHolding:
        """A session of this process dies with it: there is never one to join."""
        raise SnapshotLost(f"nobody holds session '{session_id}' beyond the run that began it")

    def left(self) -> Sequence[str]:
        """For the same reason there are none."""
        return ()

    def forget(self, session_id: str) -> None:
        """It is gone."""

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
        # Before the backup begins: what it needs must not be recycled in between.
        slot = reserve_wal(connection)
        lsn = begin_backup(connection, label or "holdfast", fast=fast)
        events.reached("backup-begun")
        # What the server is once it has begun, and not what it was while it waited to.
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
        """Raises `SessionCorrupt` where the backup is of another timeline than we took it for."""
        told = _TIMELINE.search(ended.backup_label)
        if told and int(told[1]) != self.begun.anchor.timeline:
            raise SessionCorrupt(
                f"cannot use the session on '{self._login.server}': it began on timeline"
                f" {told[1]}, not on {self.begun.anchor.timeline}",
                hint=AGAIN,
            )

    def abort(self) -> None:
        """The server ends a backup whose session ends, and drops its slot."""
        with suppress(psycopg.Error):
            self._connection.close()

    def _explain(self, error: psycopg.Error) -> None:
        """The session failed: ask the server itself, which may have been restarted."""
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
        """Raises `SessionCorrupt` where this is not the server any more that the session is of."""
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
