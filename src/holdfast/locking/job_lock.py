"""One run of a job at a time over all hosts: the lock of this host, then a lease."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from holdfast.locking.lease import Lease, Terms
from holdfast.model.errors import (
    HoldfastError,
    LeaseLost,
    RepositoryBusy,
    RepositoryRefused,
    RunInFlight,
)
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards, periodically

if TYPE_CHECKING:
    from holdfast.ports.repository import Repository
    from holdfast.ports.run import Guard, Hold

LEASES = "_leases"
SLOTS = "_slots"
# A live owner is recognized within one heartbeat, so a skipped run takes that long.
HEARTBEATS_PER_LEASE = 4
LOOKS_PER_HEARTBEAT = 5
Sleep = Callable[[float], None]


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


class LeasedGuard:
    """Obeys `ports.run.Guard`: `guard` keeps out other runs of this host, and the lease those of
    other hosts."""

    def __init__(
        self, guard: Guard, repository: Repository, terms: Terms, *, sleep: Sleep = time.sleep
    ) -> None:
        self._guard = guard
        self._repository = repository
        self._terms = terms
        self._sleep = sleep

    @contextmanager
    def hold(self, job: str, *, deadline: datetime | None) -> Iterator[Hold]:
        with self._guard.hold(job, deadline=deadline):
            lease = self._lease(job)
            while not lease.attempt(deadline=deadline):
                if lease.is_proven_alive:
                    raise self._in_flight(job, lease)
                self._sleep(look_seconds(self._terms))
            with kept(lease, self._terms) as hold:
                yield hold

    def owner(self, job: str) -> dict[str, str] | None:
        described = self._guard.owner(job)
        if described is None and (claim := self._lease(job).holder()) is not None:
            return claim.described
        return described

    def _lease(self, job: str) -> Lease:
        return Lease(self._repository, f"{LEASES}/{job}", self._terms)

    def _in_flight(self, job: str, lease: Lease) -> RunInFlight:
        claim = lease.holder()
        who = (
            f"process {claim.owner.pid} on '{claim.owner.host}' has been running it"
            f" since {claim.started_at}"
            if claim
            else "another host was running it a moment ago"
        )
        return RunInFlight(
            f"cannot run job '{job}': {who}",
            hint=f"holdfast status {job} shows the run; this one was skipped",
        )


class WritersGuard:
    """At most so many hosts write to one repository at the same time; the others wait."""

    def __init__(
        self,
        guard: Guard,
        slots: Sequence[Lease],
        terms: Terms,
        *,
        at_most: timedelta,
        sleep: Sleep = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._guard = guard
        self._slots = slots
        self._terms = terms
        self._at_most = at_most
        self._sleep = sleep
        self._jitter = jitter

    @contextmanager
    def hold(self, job: str, *, deadline: datetime | None) -> Iterator[Hold]:
        # The job first: nobody who has a slot waits for a job, so no deadlock is possible.
        with (
            self._guard.hold(job, deadline=deadline) as hold,
            kept(self._slot(job, deadline), self._terms),
        ):
            yield hold

    def owner(self, job: str) -> dict[str, str] | None:
        return self._guard.owner(job)

    def _slot(self, job: str, deadline: datetime | None) -> Lease:
        give_up_at = self._terms.seconds() + self._at_most.total_seconds()
        # Hosts that start at the same time must not all ask for the same slot first.
        first = int(self._jitter() * len(self._slots))
        turned = [*self._slots[first:], *self._slots[:first]]
        while True:
            refused: list[RepositoryRefused] = []
            for slot in turned:
                # One slot that is permanently damaged must not block the others.
                try:
                    if slot.attempt(deadline=deadline):
                        return slot
                except RepositoryRefused as error:
                    refused.append(error)
            if len(refused) == len(turned):
                raise refused[0]
            if self._terms.seconds() >= give_up_at:
                raise RepositoryBusy(
                    f"cannot run job '{job}': all {len(turned)} slots of its repository are taken",
                    hint="repository_slots sets how many hosts may write, wait_at_most how long"
                    " others wait",
                )
            self._sleep(look_seconds(self._terms) * (0.5 + self._jitter()))


def slots_of(repository: Repository, count: int, terms: Terms) -> list[Lease]:
    return [Lease(repository, f"{SLOTS}/{number}", terms) for number in range(1, count + 1)]


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
        periodically(beat, pause=lambda: heartbeat_seconds(terms), name="heartbeat"),
    ):
        yield hold


def _release(lease: Lease) -> None:
    """If the release fails, other hosts notice that no more heartbeats come."""
    with suppress(HoldfastError):
        lease.release()
