"""Waiting for a moment in which the lock will be granted at once, instead of queueing for it.

A lock that waits behind a long statement makes everybody else wait behind the lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from holdfast.model.errors import BackupFailed, GrantMissing
from holdfast.runtime import events
from holdfast.runtime.cleanup import waiting_for
from holdfast.sources.mysql.server import replication
from holdfast.sources.mysql.server.failures import StatementFailed
from holdfast.sources.mysql.server.options import Options
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.version import ServerVersion

LOOK_SECONDS = 1.0
# Sessions that wait for work, apply another server's changes or are the server's own say nothing.
# Sessions that hold whole tables, at work or idle: MySQL's lock waits for each of them.
LOCKERS = """
    SELECT t.processlist_id, t.processlist_user, l.object_schema, l.object_name
    FROM performance_schema.metadata_locks l
    JOIN performance_schema.threads t ON t.thread_id = l.owner_thread_id
    WHERE l.object_type = 'TABLE' AND l.lock_status = 'GRANTED'
      AND l.lock_type IN ('SHARED_READ_ONLY', 'SHARED_NO_READ_WRITE', 'EXCLUSIVE')
      AND t.processlist_id <> CONNECTION_ID()
    LIMIT 1"""
LONGEST = """
    SELECT id, user, CAST(time AS SIGNED) FROM information_schema.processlist
    WHERE command NOT IN ('Sleep', 'Daemon', 'Binlog Dump', 'Binlog Dump GTID', 'Connect',
                          'Slave_SQL', 'Slave_IO', 'Slave_worker')
      AND user NOT IN ('system user', 'event_scheduler') AND id <> CONNECTION_ID()
      AND time >= %s
    ORDER BY time DESC LIMIT 1"""


def wait_until_idle(
    asking: Session,
    edition: ServerVersion,
    choices: Options,
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Return when nothing long is under way; raises `BackupFailed` after `choices.wait_seconds`."""
    ends = monotonic() + choices.wait_seconds
    told = ""
    while found := hindrance(asking, edition, choices):
        if monotonic() >= ends:
            raise BackupFailed(
                f"cannot take the snapshot: {found}, also after waiting for"
                f" {choices.wait_seconds:.0f} seconds",
                hint="run the backup when it is over, or raise the source's lock_wait, long_query"
                " or lag_limit",
            )
        waiting_for(f"waiting to lock: {found}")
        if not told:
            events.warning("waiting_to_lock", because=found)
            told = found
        sleep(LOOK_SECONDS)


def hindrance(asking: Session, edition: ServerVersion, choices: Options) -> str:
    """What a lock that was asked for now would wait for; empty where nothing is seen."""
    if not edition.mariadb and (holder := _locker(asking)):
        return holder
    found = asking.text(LONGEST, str(max(1, round(choices.long_query_seconds))))
    if found:
        number, user, seconds = found[0]
        return f"statement of session {number} ('{user}') has been running for {seconds} seconds"
    seen = replication.state(asking, edition)
    if (
        seen.applies
        and seen.lag_seconds is not None
        and seen.lag_seconds > choices.most_lag_seconds
    ):
        return f"this replica is {seen.lag_seconds:.0f} seconds behind"
    return ""


def _locker(asking: Session) -> str:
    """A session that holds tables locked; nothing where the login may not see that."""
    try:
        found = asking.text(LOCKERS)
    except (GrantMissing, StatementFailed):
        return ""
    if not found:
        return ""
    number, user, schema, table = found[0]
    return f"session {number} ('{user}') holds table '{schema}.{table}' locked"
