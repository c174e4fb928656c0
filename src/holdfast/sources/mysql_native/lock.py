"""The shortest lock that the server offers for opening many sessions at one moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from holdfast.cleanup import afterwards, on_failure
from holdfast.errors import BackupFailed, HoldfastError
from holdfast.sources.mysql_native.choices import DdlPolicy
from holdfast.sources.mysql_native.edition import Edition
from holdfast.sources.mysql_native.failures import LOCK_TIMEOUT, StatementFailed
from holdfast.sources.mysql_native.session import Session

WAIT_SECONDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LockKind:
    """What to say to take it and to give it back."""

    name: str
    take: tuple[str, ...]
    release: tuple[str, ...]


# START and the stages between are implied steps on the way: only BLOCK_COMMIT stops anybody.
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
    edition: Edition, *, ddl: DdlPolicy = "detect", stopped: bool = False
) -> LockKind:
    """What this server needs; nothing where nobody writes to it."""
    if stopped:
        return STOPPED
    if edition.backup_stages:
        return BACKUP_STAGE
    if edition.mariadb:
        return READ_LOCK
    return READ_LOCK_AND_NO_DDL if ddl == "block" else READ_AND_INSTANCE_LOCK


class HeldLock:
    """How long a lock was held, once it is given back."""

    def __init__(self) -> None:
        self.milliseconds = 0.0
        self.expired = False


@contextmanager
def locked(session: Session, kind: LockKind, *, hold_seconds: float) -> Iterator[HeldLock]:
    """Hold the lock for the block; whatever happens, not longer than `hold_seconds`.

    The lock belongs to the session: cutting that gives it back even where we hang.
    """
    lock = HeldLock()

    def expire() -> None:
        lock.expired = True
        session.cut()

    watchdog = threading.Timer(hold_seconds, expire)
    watchdog.daemon = True
    session.configure(lock_wait_timeout=WAIT_SECONDS)
    try:
        with afterwards(watchdog.cancel), on_failure(_release, session, kind, lock):
            began = _take(session, kind)
            watchdog.start()
            yield lock
    except HoldfastError as error:
        if lock.expired:
            raise _given_up() from error
        raise
    _release(session, kind, lock)
    lock.milliseconds = round((time.monotonic() - began) * 1000, 1)


def _take(session: Session, kind: LockKind) -> float:
    """When the last, blocking step was asked for."""
    began = time.monotonic()
    try:
        for statement in kind.take:
            began = time.monotonic()
            session.run(statement)
    except StatementFailed as error:
        if error.code != LOCK_TIMEOUT:
            raise
        raise BackupFailed(
            f"cannot take the snapshot: {kind.name} was not granted in {WAIT_SECONDS} seconds",
            hint="a long statement or another backup holds the server: SHOW PROCESSLIST",
        ) from error
    return began


def _release(session: Session, kind: LockKind, lock: HeldLock) -> None:
    try:
        for statement in kind.release:
            session.run(statement)
    except HoldfastError as error:
        if not lock.expired:
            raise
        raise _given_up() from error


def _given_up() -> BackupFailed:
    return BackupFailed(
        "cannot take the snapshot: opening it took too long, so its lock was given up",
        hint="the server is overloaded; try again when it is quieter, or with fewer workers",
    )
