"""One snapshot for many sessions, begun when the lock can be granted at once.

A lock request that waits behind a long statement makes later statements wait behind it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from holdfast.model.errors import BackupFailed, GrantMissing, SnapshotLost
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.proof import MysqlProof
from holdfast.runtime import events
from holdfast.runtime.cleanup import waiting_for
from holdfast.sources.mysql.rows.lock import HeldLock, locked, shortest_lock
from holdfast.sources.mysql.server import databases
from holdfast.sources.mysql.server.connection import StatementFailed
from holdfast.sources.mysql.server.options import Options
from holdfast.sources.mysql.server.session import ServerVersion, Session

LOOK_SECONDS = 1.0
# Sessions, busy or idle, that hold whole tables: MySQL's read lock waits for each of them.
LOCKERS = """
    SELECT t.processlist_id, t.processlist_user, l.object_schema, l.object_name
    FROM performance_schema.metadata_locks l
    JOIN performance_schema.threads t ON t.thread_id = l.owner_thread_id
    WHERE l.object_type = 'TABLE' AND l.lock_status = 'GRANTED'
      AND l.lock_type IN ('SHARED_READ_ONLY', 'SHARED_NO_READ_WRITE', 'EXCLUSIVE')
      AND t.processlist_id <> CONNECTION_ID()
    LIMIT 1"""
# Idle sessions, replication threads and the server's own sessions do not delay the lock.
LONGEST = """
    SELECT id, user, CAST(time AS SIGNED) FROM information_schema.processlist
    WHERE command NOT IN ('Sleep', 'Daemon', 'Binlog Dump', 'Binlog Dump GTID', 'Connect',
                          'Slave_SQL', 'Slave_IO', 'Slave_worker')
      AND user NOT IN ('system user', 'event_scheduler') AND id <> CONNECTION_ID()
      AND time >= %s
    ORDER BY time DESC LIMIT 1"""
# Rolling back to it after each part releases the metadata locks of its tables, not the snapshot.
SAVEPOINT = "holdfast"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistentSnapshot:
    """When the snapshot was taken, and its proof."""

    taken_at: datetime
    proof: MysqlProof


def begin(
    sessions: Sequence[Session],
    holder: Session,
    version: ServerVersion,
    *,
    clock: Callable[[], datetime],
    options: Options,
    while_held: Callable[[], None],
) -> ConsistentSnapshot:
    """Open a transaction on each of `sessions` while `holder` blocks every commit.

    `while_held` is called under the lock, for other steps that belong to the same moment. Raises
    `SnapshotLost` where the sessions cannot be proven to see one moment.
    """
    stopped = is_stopped_replica(holder, version)
    kind = shortest_lock(version, ddl=options.ddl, stopped=stopped)
    with locked(
        holder,
        kind,
        hold_seconds=options.hold_seconds,
        wait_seconds=options.wait_seconds,
        hindrance=lambda: hindrance(holder, version, options),
    ) as lock:
        before = _position(holder, version)
        while_held()
        for session in sessions:
            session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        after = _position(holder, version)
        taken_at = clock()
    for session in sessions:
        session.run(f"SAVEPOINT {SAVEPOINT}")
    if stopped and not is_stopped_replica(holder, version):
        raise SnapshotLost(
            "cannot prove the snapshot: the replica was started, or opened for writes, during the "
            "snapshot",
            hint="run the backup again; a running replica is locked for a moment",
        )
    if before != after:
        raise SnapshotLost(
            f"cannot prove the snapshot: the server moved from {before} to {after} while it was "
            "locked",
            hint="run the backup again; if it repeats, report it with the server's version",
        )
    proof = _proof(sessions, lock, kind=kind.name, position=after)
    return ConsistentSnapshot(taken_at=taken_at, proof=_compared(proof, sessions, version))


def _proof(sessions: Sequence[Session], lock: HeldLock, *, kind: str, position: str) -> MysqlProof:
    return MysqlProof(
        # A random name: no server can rejoin a snapshot, so a run that resumes must find it gone.
        snapshot=secrets.token_hex(8),
        lock=kind,
        lock_held_milliseconds=str(lock.milliseconds),
        lock_tries=str(lock.tries),
        others_waited_milliseconds=str(lock.others_milliseconds),
        sessions=str(len(sessions)),
        gtid=position,
        same_moment="",
    )


def is_stopped_replica(asking: Session, version: ServerVersion) -> bool:
    """Whether nothing writes here: the replica applies no changes, and clients may only read."""
    seen = databases.state(asking, version)
    # Since release 12 MariaDB shows a word instead of a number.
    is_read_only = asking.variable("read_only") not in ("", "0", "OFF")
    return seen.is_replica and not seen.applies and is_read_only


def _position(holder: Session, version: ServerVersion) -> str:
    """The server's GTID position, as far as this login may see it."""
    question = "SELECT @@gtid_binlog_pos" if version.mariadb else "SELECT @@gtid_executed"
    return holder.value(question)


def _binlog(sessions: Sequence[Session]) -> dict[str, str]:
    """The binary log position that all sessions share; empty where the server reports none.

    Raises `SnapshotLost` where their positions differ.
    """
    seen = {tuple(session.text("SHOW STATUS LIKE 'Binlog\\_snapshot\\_%'")) for session in sessions}
    if len(seen) != 1:
        raise SnapshotLost(
            f"cannot prove the snapshot: its sessions are at different positions: {sorted(seen)}",
            hint="run the backup again; if it repeats, report it with the server's version",
        )
    values = {name.lower(): value for name, value in seen.pop() if value}
    return values if values.get("binlog_snapshot_file") else {}


def _compared(found: MysqlProof, sessions: Sequence[Session], version: ServerVersion) -> MysqlProof:
    """The proof, completed by the evidence that all sessions see the same moment."""
    binlog = _binlog(sessions) if version.mariadb else {}
    if binlog:
        return replace(
            found,
            binlog_snapshot_file=binlog["binlog_snapshot_file"],
            binlog_snapshot_position=binlog.get("binlog_snapshot_position", ""),
            same_moment="equal Binlog_snapshot position of all sessions",
        )
    if found.gtid and not version.mariadb:
        return replace(found, same_moment="equal GTID sets before and after")
    nothing = "no position to compare, but no commit could pass while the lock was held"
    return replace(found, same_moment=nothing)


def wait_until_idle(
    asking: Session,
    version: ServerVersion,
    options: Options,
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Return when there is no `hindrance`; raises `BackupFailed` after `options.wait_seconds`."""
    ends = monotonic() + options.wait_seconds
    told = ""
    while found := hindrance(asking, version, options):
        if monotonic() >= ends:
            raise BackupFailed(
                f"cannot take the snapshot: still blocked after"
                f" {options.wait_seconds:.0f} seconds: {found}",
                hint="run the backup when it is over, or raise the source's lock_wait, long_query"
                " or lag_limit",
            )
        waiting_for(f"waiting to lock: {found}")
        if not told:
            events.warning("waiting_for_lock", because=found)
            told = found
        sleep(LOOK_SECONDS)


def hindrance(asking: Session, version: ServerVersion, options: Options) -> str:
    """Why the lock should not be requested now: a locked table, a long statement or lag.

    Empty where no reason is visible.
    """
    if not version.mariadb and (holder := _locker(asking)):
        return holder
    found = asking.text(LONGEST, str(max(1, round(options.long_query_seconds))))
    if found:
        number, user, seconds = found[0]
        return f"statement of session {number} ('{user}') has been running for {seconds} seconds"
    seen = databases.state(asking, version)
    if (
        seen.applies
        and seen.lag_seconds is not None
        and seen.lag_seconds > options.most_lag_seconds
    ):
        return f"this replica is {seen.lag_seconds:.0f} seconds behind"
    return ""


def _locker(asking: Session) -> str:
    """A session that holds tables locked; empty where there is none or the login may not see it."""
    try:
        found = asking.text(LOCKERS)
    except (GrantMissing, StatementFailed):
        return ""
    if not found:
        return ""
    number, user, schema, table = found[0]
    return f"session {number} ('{user}') holds table '{schema}.{table}' locked"
