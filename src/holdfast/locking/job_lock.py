"""One run of a job at a time over all hosts: the lock of this host, then a lease."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from holdfast.locking.heartbeats import kept, look_seconds
from holdfast.locking.lease import Lease, Terms
from holdfast.model.errors import RunInFlight

if TYPE_CHECKING:
    from holdfast.locking.slots import Writers
    from holdfast.ports.repository import Repository
    from holdfast.ports.run import Guard, Hold

LEASES = "_leases"
Sleep = Callable[[float], None]


class LeasedGuard:
    """Obeys `ports.run.Guard`: `guard` keeps out other runs of this host, and the lease those of
    other hosts.

    With `writers` it takes a slot of the repository, too, before the lease: nobody sends heartbeats
    while it stands in line. Nobody who has a lease waits for a slot, so no deadlock is possible.
    """

    def __init__(
        self,
        guard: Guard,
        repository: Repository,
        terms: Terms,
        *,
        writers: Writers | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._guard = guard
        self._repository = repository
        self._terms = terms
        self._writers = writers
        self._sleep = sleep

    @contextmanager
    def hold(self, job: str, *, deadline: datetime | None) -> Iterator[Hold]:
        with self._guard.hold(job, deadline=deadline), ExitStack() as slot:
            lease = self._lease(job)
            if self._writers is not None:
                # Nobody waits for a slot to find that another host runs the job already. If one
                # runs it while we wait, the attempt below sees that, and the run is skipped.
                self._wait_for(job, lease, lease.look)
                slot.enter_context(self._writers.slot(job, deadline=deadline))
            self._wait_for(job, lease, partial(lease.attempt, deadline=deadline))
            with kept(lease, self._terms) as hold:
                yield hold

    def _wait_for(self, job: str, lease: Lease, attempt: Callable[[], bool]) -> None:
        while not attempt():
            if lease.is_proven_alive:
                raise self._in_flight(job, lease)
            self._sleep(look_seconds(self._terms))

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
