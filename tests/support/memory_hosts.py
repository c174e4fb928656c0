"""Hosts in memory that share a repository and contend for the lease of a job."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from holdfast.locking.host_lock import Process, this_process
from holdfast.locking.lease import Lease, Terms
from tests.fakes.clock import FakeClock
from tests.fakes.repository import MemoryRepository

FOLDER = "_leases/shop"
LEASE = 60.0


class Seconds:
    """A host's clock, in seconds since boot."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lease_of(
    repository: MemoryRepository, seconds: Seconds, me: Process, *, tells_when_free: bool = False
) -> Lease:
    terms = Terms(me=me, run_id="r", lease_seconds=LEASE, clock=FakeClock(), seconds=seconds)
    return Lease(repository, FOLDER, terms, tells_when_free=tells_when_free)


def on_host(name: str) -> Process:
    return replace(this_process(), host=name, boot_id=name)


@dataclass
class MemoryHosts:
    """The shared repository and clock, and the leases of hosts named by a test."""

    repository: MemoryRepository = field(default_factory=MemoryRepository)
    seconds: Seconds = field(default_factory=Seconds)

    def lease(self, host: str, *, process: Process | None = None) -> Lease:
        return lease_of(self.repository, self.seconds, process or on_host(host))
