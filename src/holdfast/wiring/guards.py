"""Settings into what lets one run of a job work at a time."""

from __future__ import annotations

from holdfast.config.repositories import RepositorySettings
from holdfast.config.settings import JobSettings, Settings
from holdfast.locking.host_lock import FlockGuard, WaitingGuard, this_process
from holdfast.locking.job_lock import LeasedGuard, WritersGuard, slots_of
from holdfast.locking.lease import Terms
from holdfast.operations.append_only import AppendOnly, Leftovers
from holdfast.ports.run import Guard
from holdfast.runtime.clock import now
from holdfast.wiring.repositories import raw_repository


def guard_of(
    settings: Settings,
    job: JobSettings,
    store: RepositorySettings,
    run_id: str,
    *,
    leftovers: Leftovers,
) -> Guard:
    """This host's lock, a lease in the repository that is written to, and a slot where they are
    counted."""
    here = FlockGuard(settings.state_directory / "locks", clock=now, run_id=run_id)
    return leased_guard(here, job, store, run_id, leftovers=leftovers)


def host_guard(settings: Settings, job: JobSettings, run_id: str) -> Guard:
    """This host's lock alone: each of several repositories has a lease of its own."""
    here = FlockGuard(settings.state_directory / "locks", clock=now, run_id=run_id)
    return WaitingGuard(here, at_most=job.wait_at_most) if job.overlap == "wait" else here


def leased_guard(
    here: Guard,
    job: JobSettings,
    store: RepositorySettings,
    run_id: str,
    *,
    leftovers: Leftovers,
) -> Guard:
    written = AppendOnly(raw_repository(store), leftovers)
    terms = Terms(
        me=this_process(), run_id=run_id, lease_seconds=store.lease_time.total_seconds(), clock=now
    )
    guard: Guard = LeasedGuard(here, written, terms)
    if job.overlap == "wait":
        guard = WaitingGuard(guard, at_most=job.wait_at_most)
    if store.repository_slots is None:
        return guard
    slots = slots_of(written, store.repository_slots, terms)
    return WritersGuard(guard, slots, terms, at_most=job.wait_at_most)
