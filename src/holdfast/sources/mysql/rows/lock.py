"""The least restrictive lock of the server under which many sessions can see one moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holdfast.model.errors import BackupFailed, HoldfastError
from holdfast.model.lazy_dataclass import dataclass
from holdfast.runtime.cleanup import afterwards, on_failure, waiting_for
from holdfast.runtime.kernel import start
from holdfast.sources.mysql.server.connection import LOCK_TIMEOUT, StatementFailed
from holdfast.sources.mysql.server.options import DdlPolicy
from holdfast.sources.mysql.server.session import ServerVersion, Session
from holdfast.sources.mysql.server.session_settings import METADATA_WAIT_SECONDS

# Writers wait behind a lock request: no longer than this, and then they get a pause.
TRY_SECONDS = 1
PAUSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LockKind:
    """The statements that take a lock and release it."""

    name: str
    take: tuple[str, ...]
    release: tuple[str, ...]


# The server passes the stages between by itself; only BLOCK_COMMIT makes other sessions wait.
BACKUP_STAGE = LockKind(
    name="BACKUP STAGE BLOCK_COMMIT",
    take=("BACKUP STAGE START", "BACKUP STAGE BLOCK_COMMIT"),
    release=("BACKUP STAGE END",),
)
READ_LOCK = LockKind(
    name="FLUSH TABLES WITH READ LOCK",
    take=("FLUSH TABLES WITH READ LOCK",),
    release=("UNLOCK TABLES",),
)
READ_AND_INSTANCE_LOCK = LockKind(
    name="LOCK INSTANCE FOR BACKUP, FLUSH TABLES WITH READ LOCK",
    take=("LOCK INSTANCE FOR BACKUP", "FLUSH TABLES WITH READ LOCK"),
    release=("UNLOCK TABLES", "UNLOCK INSTANCE"),
)
READ_LOCK_AND_NO_DDL = LockKind(
    name="LOCK INSTANCE FOR BACKUP until the end, FLUSH TABLES WITH READ LOCK",
    take=READ_AND_INSTANCE_LOCK.take,
    release=("UNLOCK TABLES",),
)
STOPPED = LockKind(name="none, as this is a stopped replica", take=(), release=())


def shortest_lock(
    version: ServerVersion, *, ddl: DdlPolicy = "detect", stopped: bool = False
) -> LockKind:
    """The lock that this server needs; none on a stopped replica, to which nothing writes."""
    if stopped:
        return STOPPED
    if version.backup_stages:
        return BACKUP_STAGE
    if version.mariadb:
        return READ_LOCK
    return READ_LOCK_AND_NO_DDL if ddl == "block" else READ_AND_INSTANCE_LOCK


class HeldLock:
    """How long a lock was held; complete once it is released.

    `others_milliseconds` is the longest time that other sessions may have waited: behind a try
    that was not granted, or while the lock was requested and held.
    """

    def __init__(self) -> None:
        self.milliseconds = 0.0
        self.others_milliseconds = 0.0
        self.tries = 0
        self.is_begun = False
        self.expired = False

    def waited(self, seconds: float) -> None:
        self.others_milliseconds = max(self.others_milliseconds, round(seconds * 1000, 1))


@contextmanager
def locked(
    session: Session,
    kind: LockKind,
    *,
    hold_seconds: float,
    wait_seconds: float,
    hindrance: Callable[[], str],
) -> Iterator[HeldLock]:
    """Hold the lock for the block, and never longer than `hold_seconds`.

    It is requested in short tries for at most `wait_seconds`, and after the first try not while
    there is a `hindrance`. The lock belongs to the session: cutting the session releases it even
    where this process hangs in a statement. Raises `BackupFailed` where either time is exceeded.
    """
    lock = HeldLock()

    def expire() -> None:
        lock.expired = True
        session.cut()

    watchdog = threading.Timer(hold_seconds, expire)
    watchdog.daemon = True
    session.configure(lock_wait_timeout=TRY_SECONDS)
    try:
        with afterwards(watchdog.cancel), on_failure(_release, session, kind, lock):
            began = _take(session, kind, lock, wait_seconds=wait_seconds, hindrance=hindrance)
            session.configure(lock_wait_timeout=METADATA_WAIT_SECONDS)
            start(watchdog)
            yield lock
    except HoldfastError as error:
        if lock.expired:
            raise _given_up() from error
        raise
    _release(session, kind, lock)
    lock.milliseconds = round((time.monotonic() - began) * 1000, 1)
    lock.waited(time.monotonic() - began)


def _take(
    session: Session,
    kind: LockKind,
    lock: HeldLock,
    *,
    wait_seconds: float,
    hindrance: Callable[[], str],
) -> float:
    """Take the lock; returns the monotonic time at which its last, blocking statement was sent."""
    ends = time.monotonic() + wait_seconds
    while True:
        because = hindrance() if lock.tries else ""
        waiting_for(f"waiting for {kind.name}" + (f": {because}" if because else ""))
        began = None if because else _tried(session, kind, lock)
        if began is not None:
            return began
        if time.monotonic() >= ends:
            raise BackupFailed(
                f"cannot take the snapshot: {kind.name} was not granted in {lock.tries} tries over"
                f" {wait_seconds:.0f} seconds" + (f": {because}" if because else ""),
                hint="a long statement, LOCK TABLES or another backup blocks it:"
                " see SHOW PROCESSLIST, and lock_wait of the source",
            )
        time.sleep(PAUSE_SECONDS)


def _tried(session: Session, kind: LockKind, lock: HeldLock) -> float | None:
    """One try; returns None and holds nothing where the lock was not granted in time."""
    lock.tries += 1
    began = time.monotonic()
    try:
        for statement in kind.take:
            began = time.monotonic()
            session.run(statement)
            lock.is_begun = True
    except StatementFailed as error:
        if error.code != LOCK_TIMEOUT:
            raise
        lock.waited(time.monotonic() - began)
        _release(session, kind, lock)
        return None
    return began


def _release(session: Session, kind: LockKind, lock: HeldLock) -> None:
    """Release the lock if it was taken; servers refuse to release one that is not held."""
    if not lock.is_begun:
        return
    lock.is_begun = False
    try:
        for statement in kind.release:
            session.run(statement)
    except HoldfastError as error:
        if not lock.expired:
            raise
        raise _given_up() from error


def _given_up() -> BackupFailed:
    return BackupFailed(
        "cannot take the snapshot: opening it took too long, so its lock was released",
        hint="the server is overloaded; try again when it is quieter, or with fewer workers",
    )
