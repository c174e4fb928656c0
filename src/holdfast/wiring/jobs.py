"""Build from the settings the context that each command runs a job with.

Each function imports the verbs and drivers that it needs. `holdfast list` on a MySQL host must not
wait for the PostgreSQL driver to load, nor `wal push` for the code of `prune`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from holdfast.config.sources import PostgresSettings
from holdfast.host_state.runs import FileJournal, FileRunHistory
from holdfast.locking.host_lock import FlockGuard, OwnedGuard, WaitingGuard
from holdfast.model.errors import ConfigInvalid
from holdfast.operations.append_only import AppendOnly, Leftovers
from holdfast.operations.context import (
    BackupContext,
    Host,
    Mirror,
    Ownership,
    nobody,
)
from holdfast.runtime import kernel_calls
from holdfast.runtime.clock import now
from holdfast.wiring import limits
from holdfast.wiring.configured import Configured, configured
from holdfast.wiring.keys import require_believed
from holdfast.wiring.repositories import (
    repository,
    repository_settings,
    store_name,
    uploads_at_once,
)
from holdfast.wiring.sources import SourceOptions, server_archiver, source_of

if TYPE_CHECKING:
    from holdfast.config.repositories import RepositorySettings
    from holdfast.config.settings import JobSettings, Settings
    from holdfast.model.wal_archive import Archiver
    from holdfast.operations.backup.plan import PlanContext
    from holdfast.operations.copy.backups import CopyContext
    from holdfast.operations.prune import PruneContext
    from holdfast.operations.repair import RepairContext
    from holdfast.operations.status import CheckContext, StatusContext
    from holdfast.ports.run import Guard, Progress


def backup_context(
    settings: Settings,
    name: str,
    *,
    progress: Progress,
    chunk_bytes: int | None = None,
    chosen: str = "",
    run_id: str = "",
    begun: Callable[[], None] = nobody,
) -> BackupContext:
    """The context of one backup of job `name`; opens no connection. Raises `UnknownJob`.

    `chunk_bytes` overrides the configured size above which tables are split. `chosen` overrides
    the job's repository. `begun` is called once the job is locked.
    """
    from holdfast.host_state.metrics import cpu_seconds, peak_memory_bytes
    from holdfast.limits.budget import refused_tasks

    config = configured(settings, name, chosen=chosen)
    job, run_id = config.job, run_id or kernel_calls.token_hex(16)
    here = FlockGuard(settings.state_directory / "locks", clock=now, run_id=run_id)
    leftovers, sessions = Leftovers(), config.sessions
    mirrors = (config.kept_in, *job.mirrors) if job.mirrors and not chosen else ()
    return BackupContext(
        job=config.spec,
        source=source_of(job, SourceOptions(chunk_bytes=chunk_bytes, holder=sessions)),
        sessions=sessions,
        repository=repository(config.store),
        ownership=Ownership(
            new_run_id=lambda: run_id,
            guard=guard_of(job, config.store, here, run_id=run_id, leftovers=leftovers),
            leftovers=leftovers,
            begun=begun,
            host_guard=_host_guard(job, here) if mirrors else None,
            mirrors=tuple(_mirror(settings, job, each, run_id=run_id) for each in mirrors),
        ),
        state=config.state,
        host=Host(
            name=kernel_calls.host_name(),
            clock=now,
            peak_memory_bytes=peak_memory_bytes,
            cpu_seconds=cpu_seconds,
            choose_workers=lambda source: limits.workers(job, source),
            throttle=lambda source: limits.throttle(job, source),
            limit_workers=lambda slots: limits.adaptive_limit(job, slots),
            refused_tasks=refused_tasks,
        ),
        progress=progress,
    )


def plan_context(
    settings: Settings, name: str, *, chunk_bytes: int | None = None, chosen: str = ""
) -> PlanContext:
    """The context of a plan of the next backup of job `name`."""
    from holdfast.operations.backup.plan import PlanContext

    config = configured(settings, name, chosen=chosen)
    return PlanContext(
        job=config.spec,
        source=source_of(
            config.job, SourceOptions(chunk_bytes=chunk_bytes, holder=config.sessions)
        ),
        repository=repository(config.store),
        choose_workers=lambda source: limits.workers(config.job, source),
    )


def status_context(settings: Settings, name: str, *, chosen: str = "") -> StatusContext:
    """The context of a status of job `name`."""
    from holdfast.operations.status import StatusContext

    config = configured(settings, name, chosen=chosen)
    return StatusContext(
        job=config.spec,
        archiver=_archiver(config),
        repository=repository(config.store),
        history=FileRunHistory(settings.state_directory / "runs"),
        guard=job_guard(config),
        clock=now,
    )


def _archiver(config: Configured) -> Callable[[], Archiver | None]:
    """Asks the job's server how it archives WAL; the drivers of all other servers load slowly."""
    source = config.job.source
    if not isinstance(source, PostgresSettings) or source.method != "physical":
        return lambda: None
    return lambda: server_archiver(source)


def check_context(settings: Settings, name: str, *, chosen: str = "") -> CheckContext:
    """The context of a check of job `name` and of all its repositories."""
    from holdfast.operations.status import CheckContext
    from holdfast.wiring.notify import receiver_of, settings_of

    config = configured(settings, name, chosen=chosen)
    mirrors = () if chosen else config.job.mirrors
    return CheckContext(
        job=config.spec,
        source=source_of(config.job, SourceOptions(holder=config.sessions)),
        repository=repository(config.store),
        gauges=config.gauges,
        mirrors={each: repository(repository_settings(settings, each)) for each in mirrors},
        receivers={
            each: receiver_of(found, each) for each, found in settings_of(settings, name).items()
        },
    )


def prune_context(settings: Settings, name: str, *, chosen: str = "") -> PruneContext:
    """The context of a prune of job `name`."""
    from holdfast.operations.prune import PruneContext

    config = configured(settings, name, chosen=chosen)
    return PruneContext(
        job=config.spec,
        repository=repository(config.store),
        guard=job_guard(config),
        clock=now,
        verification_log=config.verification_log,
    )


def repair_context(settings: Settings, name: str, *, chosen: str = "") -> RepairContext:
    """The context of a repair of job `name`."""
    from holdfast.operations.repair import RepairContext

    config = configured(settings, name, chosen=chosen)
    return RepairContext(
        job=config.spec,
        repository=repository(config.store),
        guard=job_guard(config),
        clock=now,
        verification_log=config.verification_log,
        journal=FileJournal(settings.state_directory / "unfinished"),
        sessions=config.sessions,
    )


def copying(settings: Settings, job: str, *, to: str, chosen: str = "") -> CopyContext:
    """The context of one copy of `job` to the repository `to`. Raises `ConfigInvalid`."""
    from holdfast.operations.copy.backups import CopyContext

    kept_in = store_name(settings, job, chosen=chosen)
    target = repository_settings(settings, to)
    if kept_in == to:
        raise ConfigInvalid(
            f"cannot copy job '{job}': its backups are in '{to}' already",
            hint="--to names another repository of the configuration",
        )
    source, there = repository_settings(settings, kept_in), repository(target, signed=False)
    leftovers = Leftovers()
    return CopyContext(
        source=repository(source, signed=False),
        target=there,
        believed=repository(source),
        require_believed=require_believed(there, target.authentication),
        guard=job_guard(configured(settings, job, chosen=to), leftovers=leftovers),
        leftovers=leftovers,
        at_once=uploads_at_once(target),
    )


def job_guard(config: Configured, *, leftovers: Leftovers | None = None) -> Guard:
    """A guard with its own run id, which lets one run at a time work on the job."""
    run_id = kernel_calls.token_hex(16)
    here = FlockGuard(config.settings.state_directory / "locks", clock=now, run_id=run_id)
    return guard_of(
        config.job, config.store, here, run_id=run_id, leftovers=leftovers or Leftovers()
    )


def guard_of(
    job: JobSettings,
    store: RepositorySettings,
    here: Guard,
    *,
    run_id: str,
    leftovers: Leftovers,
) -> Guard:
    """A guard that takes this host's lock `here` and a lease in the written repository.

    It also takes one of the repository's slots if their number is limited. With `overlap: wait` it
    waits for the job.
    """
    from holdfast.locking.job_lock import LeasedGuard
    from holdfast.locking.lease import Terms
    from holdfast.locking.slots import Writers

    bare = repository(store, signed=False)
    written = AppendOnly(bare, leftovers)
    terms = Terms(run_id=run_id, lease_seconds=store.lease_time.total_seconds(), clock=now)
    count, writers = store.repository_slots, None
    if count is not None:
        writers = Writers(written, count, terms, at_most=job.wait_at_most, tickets=bare)
    guard: Guard = LeasedGuard(here, written, terms, writers=writers)
    return WaitingGuard(guard, at_most=job.wait_at_most) if job.overlap == "wait" else guard


def _host_guard(job: JobSettings, here: Guard) -> Guard:
    """A guard that takes this host's lock only: each repository has its own lease."""
    return WaitingGuard(here, at_most=job.wait_at_most) if job.overlap == "wait" else here


def _mirror(settings: Settings, job: JobSettings, name: str, *, run_id: str) -> Mirror:
    store, leftovers = repository_settings(settings, name), Leftovers()
    return Mirror(
        name=name,
        repository=repository(store),
        guard=guard_of(job, store, OwnedGuard(), run_id=run_id, leftovers=leftovers),
        leftovers=leftovers,
    )
