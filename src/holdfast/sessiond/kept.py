"""One session in the daemon's hands, and what it is worth."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import timedelta

from holdfast.errors import (
    HoldfastError,
    SessionCorrupt,
    SessionExpired,
    SessionLost,
    SessionNotFound,
)
from holdfast.holding import HeldKind, HeldState, Holder, Holding
from holdfast.session.record import SessionRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`per_server` sessions at a time; none is held longer than `longest`."""

    per_server: int
    longest: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSessions:
    """Where a job's sessions come from, and what they are for unless somebody says otherwise."""

    holder: Holder
    kind: HeldKind


@dataclass
class Kept:
    """A session in our hands; `lock` is held by whoever speaks to its server."""

    record: SessionRecord
    holding: Holding
    lock: threading.Lock = field(default_factory=threading.Lock)


_UNUSABLE: dict[HeldState, type[HoldfastError]] = {
    HeldState.ENDED: SessionNotFound,
    HeldState.ABORTED: SessionNotFound,
    HeldState.EXPIRED: SessionExpired,
    HeldState.LOST: SessionLost,
    HeldState.CORRUPT: SessionCorrupt,
}


def require_open(record: SessionRecord) -> None:
    """Raises the error that belongs to the session's state."""
    if not record.is_open:
        raise _UNUSABLE[record.state](
            f"cannot use session '{record.session_id}': it is {record.state.value}:"
            f" {record.reason}",
            hint="what was copied under it is no backup; begin again",
        )


def fields_of(record: SessionRecord) -> dict[str, object]:
    """What every log event about a session names."""
    return {"session": record.session_id, "job": record.job, "server": record.server}
