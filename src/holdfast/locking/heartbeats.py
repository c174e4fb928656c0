"""Heartbeats that keep a lease while its owner works, and tell the owner when it lost it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from holdfast.locking.lease import Lease, Terms
from holdfast.model.errors import HoldfastError, LeaseLost
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards

# A live owner is recognized within one heartbeat, so a skipped run takes that long.
HEARTBEATS_PER_LEASE = 4
LOOKS_PER_HEARTBEAT = 5


class LeasedHold:
    """Obeys `ports.run.Hold` for a lease that a thread of this process renews with heartbeats."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._lost = ""

    @property
    def lost(self) -> str:
        if not self._lost and self._lease.is_expired:
            self._lost = "the repository accepted no heartbeat for a whole lease_time"
        return self._lost

    def prove(self) -> None:
        if self.lost:
            raise LeaseLost(
                f"cannot continue: {self.lost}",
                hint="if another host has taken over the job, its run makes the backup; if not,"
                " the next run does",
            )
        try:
            self._lease.renew()
        except LeaseLost as error:
            self._lost = error.message
            raise

    def beat(self) -> None:
        """Send one heartbeat; it may fail, as only a whole lease time without one is fatal."""
        try:
            self.prove()
        except LeaseLost as error:
            events.error("lease_lost", problem=error.message)
        except HoldfastError as error:
            events.warning("heartbeat_missed", problem=error.message)


def look_seconds(terms: Terms) -> float:
    return heartbeat_seconds(terms) / LOOKS_PER_HEARTBEAT


def heartbeat_seconds(terms: Terms) -> float:
    return terms.lease_seconds / HEARTBEATS_PER_LEASE


@contextmanager
def kept(lease: Lease, terms: Terms) -> Iterator[LeasedHold]:
    """Send heartbeats for our `lease` from a separate thread until the block ends."""
    hold = LeasedHold(lease)

    def beat() -> bool:
        if not hold.lost:
            hold.beat()
        return bool(hold.lost)

    with (
        afterwards(_release, lease),
        terms.beating(beat, pause=lambda: heartbeat_seconds(terms), name="heartbeat"),
    ):
        yield hold


def _release(lease: Lease) -> None:
    """If the release fails, other hosts notice that no more heartbeats come."""
    with suppress(HoldfastError):
        lease.release()
