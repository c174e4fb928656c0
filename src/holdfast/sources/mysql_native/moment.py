"""One moment for all sessions, and the server's own evidence that it is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from holdfast.errors import SnapshotLost
from holdfast.sources.mysql_native.edition import Edition
from holdfast.sources.mysql_native.lock import HOLD_SECONDS, locked, shortest_lock
from holdfast.sources.mysql_native.session import Session

# Rolling back to it after each table gives up the table's metadata lock, not the snapshot.
SAVEPOINT = "holdfast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When the snapshot was taken, and the proof."""

    taken_at: datetime
    proof: dict[str, str]


def begin(
    sessions: Sequence[Session], holder: Session, edition: Edition, clock: Callable[[], datetime]
) -> Moment:
    """Open a transaction on each of `sessions` while `holder` keeps every commit away."""
    kind = shortest_lock(edition)
    with locked(holder, kind, hold_seconds=HOLD_SECONDS) as lock:
        before = _position(holder, edition)
        for session in sessions:
            session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        after = _position(holder, edition)
        taken_at = clock()
    for session in sessions:
        session.run(f"SAVEPOINT {SAVEPOINT}")
    if before != after:
        raise SnapshotLost(
            f"cannot prove the snapshot: the server went from {before} to {after} under the lock",
            hint="run the backup again; if it repeats, report it with the server's version",
        )
    proof = {
        "lock": kind.name,
        "lock_held_milliseconds": str(lock.milliseconds),
        "sessions": str(len(sessions)),
    }
    return Moment(taken_at=taken_at, proof=proof | _evidence(sessions, edition, after))


def _position(holder: Session, edition: Edition) -> str:
    """How far the server had come, as far as this login may know."""
    question = "SELECT @@gtid_binlog_pos" if edition.mariadb else "SELECT @@gtid_executed"
    return holder.value(question)


def _evidence(sessions: Sequence[Session], edition: Edition, position: str) -> dict[str, str]:
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
