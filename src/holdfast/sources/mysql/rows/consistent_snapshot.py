"""One moment for all sessions, and the server's own evidence that it is one."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from holdfast.model.errors import SnapshotLost
from holdfast.sources.mysql.rows.lock import locked, shortest_lock
from holdfast.sources.mysql.rows.wait_for_idle import hindrance
from holdfast.sources.mysql.server import replication
from holdfast.sources.mysql.server.options import Options
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.version import ServerVersion

# Rolling back to it after each table gives up the table's metadata lock, not the snapshot.
SAVEPOINT = "holdfast"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistentSnapshot:
    """When the snapshot was taken, and the proof."""

    taken_at: datetime
    proof: dict[str, str]


def begin(
    sessions: Sequence[Session],
    holder: Session,
    edition: ServerVersion,
    clock: Callable[[], datetime],
    *,
    choices: Options,
    while_held: Callable[[], None],
) -> ConsistentSnapshot:
    """Open a transaction on each of `sessions` while `holder` keeps every commit away.

    `while_held` is called meanwhile, for what else belongs to the moment.
    """
    stopped = is_stopped_replica(holder, edition)
    kind = shortest_lock(edition, ddl=choices.ddl, stopped=stopped)
    with locked(
        holder,
        kind,
        hold_seconds=choices.hold_seconds,
        wait_seconds=choices.wait_seconds,
        hindrance=lambda: hindrance(holder, edition, choices),
    ) as lock:
        before = _position(holder, edition)
        while_held()
        for session in sessions:
            session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        after = _position(holder, edition)
        taken_at = clock()
    for session in sessions:
        session.run(f"SAVEPOINT {SAVEPOINT}")
    if stopped and not is_stopped_replica(holder, edition):
        raise SnapshotLost(
            "cannot prove the snapshot: the replica was started, or opened for writes, meanwhile",
            hint="run the backup again; a replica that runs is locked for a moment",
        )
    if before != after:
        raise SnapshotLost(
            f"cannot prove the snapshot: the server went from {before} to {after} under the lock",
            hint="run the backup again; if it repeats, report it with the server's version",
        )
    proof = {
        # No server can be asked for it again: a run that resumes must learn that it is gone.
        "snapshot": secrets.token_hex(8),
        "lock": kind.name,
        "lock_held_milliseconds": str(lock.milliseconds),
        "lock_tries": str(lock.tries),
        "others_waited_milliseconds": str(lock.others_milliseconds),
        "sessions": str(len(sessions)),
    }
    return ConsistentSnapshot(taken_at=taken_at, proof=proof | _evidence(sessions, edition, after))


def is_stopped_replica(asking: Session, edition: ServerVersion) -> bool:
    """Whether nobody writes here: no source is applied, and clients may only read."""
    seen = replication.state(asking, edition)
    # MariaDB spells it in words since 12.
    is_read_only = asking.variable("read_only") not in ("", "0", "OFF")
    return seen.is_replica and not seen.applies and is_read_only


def _position(holder: Session, edition: ServerVersion) -> str:
    """How far the server had come, as far as this login may know."""
    question = "SELECT @@gtid_binlog_pos" if edition.mariadb else "SELECT @@gtid_executed"
    return holder.value(question)


def _evidence(sessions: Sequence[Session], edition: ServerVersion, position: str) -> dict[str, str]:
    evidence = {"gtid": position} if position else {}
    if not edition.mariadb:
        return evidence | _guarantee("equal GTID sets before and after" if position else "")
    seen = {tuple(session.text("SHOW STATUS LIKE 'Binlog\\_snapshot\\_%'")) for session in sessions}
    if len(seen) != 1:
        raise SnapshotLost(
            f"cannot prove the snapshot: its sessions are at different places: {sorted(seen)}",
            hint="run the backup again; if it repeats, report it with the server's version",
        )
    values = {name.lower(): value for name, value in seen.pop() if value}
    if not values.get("binlog_snapshot_file"):
        return evidence | _guarantee("")
    return evidence | values | _guarantee("equal Binlog_snapshot position of all sessions")


def _guarantee(seen: str) -> dict[str, str]:
    because = seen or "no position to compare, but no commit could pass while the lock was held"
    return {"same_moment": because}
