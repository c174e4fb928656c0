"""Checks a server before pg_basebackup starts, and translates errors of its client programs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, replace

from psycopg.rows import class_row

from holdfast.model.backup import POSTGRES_CLUSTER, Server
from holdfast.model.errors import (
    BackupFailed,
    DatabaseUnreachable,
    GrantMissing,
    HoldfastError,
    SlotMissing,
    Unsupported,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.proof import BaseBackupProof
from holdfast.runtime.process import ChildFailed
from holdfast.sources.postgres.files import cluster
from holdfast.sources.postgres.files.cluster import OLDEST_SERVER
from holdfast.sources.postgres.files.session_holder import TIMELINE
from holdfast.sources.postgres.files.stream_watchers import known_databases
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.sql_text import identifier

# pg_basebackup needs one WAL sender: with --wal-method=fetch there is no second stream.
SENDERS = 1
_FACTS = f"""
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int AS version_number,
       (SELECT count(*) FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global'))
         AS tablespaces,
       current_setting('max_wal_senders')::int
         - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender')
         AS senders_free,
       (SELECT coalesce(sum(pg_database_size(oid)), 0) FROM pg_database)::bigint AS size_bytes,
       (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user)
         AS may_replicate,
       (SELECT system_identifier FROM pg_control_system())::text AS system_identifier,
       {TIMELINE} AS timeline,
       current_setting('summarize_wal', true) = 'on' AS summarizes,
       current_setting('data_checksums')::bool AS has_checksums,
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_lsn() END::text AS lsn
"""  # noqa: S608  # of constants
# The WAL ranges, one for each timeline. They end the manifest, the last file of the stream.
_RANGE = re.compile(
    rb'"Timeline": (\d+), "Start-LSN": "([0-9A-F]+/[0-9A-F]+)", "End-LSN": "([0-9A-F]+/[0-9A-F]+)"'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFacts:
    """What the server reports about itself.

    `senders_free` counts unused WAL senders. `summarizes` is None if the server is too old for WAL
    summaries. `databases` maps OIDs to names.
    """

    version: str
    version_number: int
    tablespaces: int
    senders_free: int
    size_bytes: int
    may_replicate: bool
    system_identifier: str
    timeline: int
    summarizes: bool | None
    has_checksums: bool
    lsn: str
    databases: Mapping[str, str] = field(default_factory=dict)

    @property
    def server(self) -> Server:
        return Server(kind=POSTGRES_CLUSTER, version=self.version, database="cluster")


def examined(login: Login) -> StreamFacts:
    """Ask the server for its facts; raises the error that would make pg_basebackup fail."""
    with (
        cluster.session(login) as connection,
        connection.cursor(row_factory=class_row(StreamFacts)) as cursor,
    ):
        (found,) = cursor.execute(_FACTS.encode()).fetchall()
        found = replace(found, databases=known_databases(connection))
    _require(found, login.user)
    return found


def wal_of(tail: bytes) -> BaseBackupProof:
    """The WAL range of a base backup from the `tail` of its stream; empty if it names none."""
    ranges = _RANGE.findall(tail)
    if not ranges:
        return BaseBackupProof()
    timeline, start, _ = ranges[0]
    return BaseBackupProof(
        timeline=int(timeline), start_lsn=start.decode(), stop_lsn=ranges[-1][2].decode()
    )


def _require(found: StreamFacts, user: str) -> None:
    if found.version_number < OLDEST_SERVER:
        raise Unsupported(
            f"cannot copy the cluster: server {found.version} is older than 14",
            hint="upgrade the server, or use pg_basebackup by hand",
        )
    if not found.may_replicate:
        raise GrantMissing(
            f"cannot copy the cluster: role '{user}' may not replicate",
            hint=f"ALTER ROLE {identifier(user)} REPLICATION, and allow it the"
            " database 'replication' in pg_hba.conf",
        )
    if found.tablespaces:
        raise Unsupported(
            f"cannot stream the cluster: it has {found.tablespaces}"
            " tablespaces, which pg_basebackup cannot write to one stream",
            hint="use engine native, and run the job on the server's host",
        )
    if found.senders_free < SENDERS:
        raise DatabaseUnreachable(
            f"cannot stream the cluster: {found.senders_free} WAL senders are free,"
            f" {SENDERS} is needed",
            hint="raise max_wal_senders and restart the server, or stop a replication client",
        )


_NOT_ALLOWED = re.compile(
    r"no pg_hba\.conf entry for replication|must be .* replication|permission denied to start WAL"
)
_NO_ROOM = re.compile(r"exceeds max_wal_senders|remaining connection slots")
_SLOT = re.compile(r"replication slot .* (does not exist|is active)")
_RECYCLED = re.compile(r"requested WAL segment \w+ has already been removed")
_GONE = re.compile(
    r"could not connect|connection to server|terminating|could not receive data"
    r"|stream was terminated|disconnected"
)


def wire_failed(error: ChildFailed, what: str) -> HoldfastError:
    """The error for a failed client program; `what` begins its message, as `cannot receive WAL`."""
    message = f"{what}: {error.message}"
    if _NOT_ALLOWED.search(error.stderr):
        return GrantMissing(
            message, hint="allow the login the database 'replication' in pg_hba.conf"
        )
    if _NO_ROOM.search(error.stderr):
        return DatabaseUnreachable(message, hint="raise max_wal_senders and restart the server")
    if _SLOT.search(error.stderr):
        return SlotMissing(message, hint="each client needs its own slot: see pg_replication_slots")
    if _RECYCLED.search(error.stderr):
        return SlotMissing(
            message,
            hint="take a new backup, as WAL is missing; with holdfast wal"
            " receive --slot NAME the server keeps unsent WAL",
        )
    if _GONE.search(error.stderr):
        return DatabaseUnreachable(message, hint="try again later")
    return BackupFailed(message, hint="the server's log has the details")
