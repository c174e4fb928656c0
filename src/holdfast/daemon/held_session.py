"""One session in the daemon's hands, and what it is worth."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from holdfast.model.errors import (
    HoldfastError,
    SessionCorrupt,
    SessionExpired,
    SessionLost,
    SessionNotFound,
)
from holdfast.ports.sessions import RUN_LABEL, HeldKind, HeldState, Holder, Holding
from holdfast.sessions.record import SessionRecord

# A run that was not heard of for so long is dead; its session waits for whoever resumes it.
SILENCE = timedelta(minutes=2)
# How many sessions a server may have to bear in all, those of dead runs too.
WITH_DEAD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """`per_server` sessions that somebody works with; none is held longer than `longest`."""

    per_server: int
    longest: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSessions:
    """Where a job's sessions come from, and what they are for unless somebody says otherwise."""

    holder: Holder
    kind: HeldKind


@dataclass
class HeldSession:
    """A session in our hands, `renewed` when; whoever speaks to its server has the `lock`."""

    record: SessionRecord
    holding: Holding
    renewed: datetime
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_living(self, now: datetime) -> bool:
        """Whether somebody works with it: a run says so every few seconds, people as they like."""
        return self.record.label != RUN_LABEL or now - self.renewed < SILENCE


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
