"""Settings into objects: the only place that knows every class.

Drivers are imported by the function that builds them: a `holdfast list` on a MySQL host does
not wait for the PostgreSQL driver to load.
"""

from __future__ import annotations

import os
import secrets
import socket
from functools import partial

from holdfast.catalog.manifest_index import ManifestIndex
from holdfast.config.document import did_you_mean
from holdfast.config.repositories import RepositorySettings
from holdfast.config.settings import JobSettings, Settings
from holdfast.config.sources import PostgresSettings
from holdfast.host_state.kept_files import FileFailedStatements, HostFileLists, lasting_secret
from holdfast.host_state.metrics import NoGauges, TextfileGauges, cpu_seconds, peak_memory_bytes
from holdfast.host_state.runs import FileJournal, FileRunHistory
from holdfast.host_state.verification_log import FileVerificationLog
from holdfast.limits.budget import (
    Budget,
    MemoryBudget,
    live_limits,
    process_budget,
    refused_tasks,
    slots_now,
    tasks_beside,
)
from holdfast.limits.throttle import Throttle, ThrottleLimit
from holdfast.locking.host_lock import OwnedGuard
from holdfast.model.errors import ConfigInvalid, UnknownJob, Unsupported
from holdfast.model.restore import FailedStatements
from holdfast.model.retention import Policy
from holdfast.operations.append_only import Leftovers
from holdfast.operations.context import Context, CopyContext, JobSpec, Mirror
from holdfast.operations.verify.backup import BackupReader
from holdfast.pipeline.compression import context_bytes
from holdfast.pipeline.encryption import Identities
from holdfast.ports.host_state import Gauges, VerificationLog
from holdfast.ports.repository import Repository
from holdfast.ports.run import Progress
from holdfast.ports.sessions import HeldKind, Holder
from holdfast.ports.source import Source
from holdfast.runtime import events
from holdfast.runtime.clock import now
from holdfast.runtime.worker_pool import AdaptiveLimit
from holdfast.wiring import clusters
from holdfast.wiring.guards import guard_of, host_guard, leased_guard
from holdfast.wiring.keys import believed_keys, require_believed
from holdfast.wiring.repositories import raw_repository, repository, uploads_at_once
from holdfast.wiring.sources import source_of

BLOB_SECRET = "blob-names.key"  # noqa: S105 - the name of a file


def context_for(
    settings: Settings,
    name: str,
    *,
    progress: Progress,
    chunk_bytes: int | None = None,
    chosen: str = "",
) -> Context:
    """Everything for one run of job `name`; nothing is connected yet. Raises `UnknownJob`.

    `chunk_bytes` overrules the configured size above which tables are split, `chosen` the name
    of the job's repository.
    """
    job = job_settings(settings, name)
    run_id = secrets.token_hex(16)
    tasks_per_slot = tasks_beside(job.compression.program)
    kept_in = store_name(settings, name, chosen=chosen)
    store = repository_settings(settings, kept_in)
    mirrors = (kept_in, *job.mirrors) if job.mirrors and not chosen else ()
    leftovers, sessions = Leftovers(), clusters.holding_daemon(settings, name, job)
    return Context(
        job=spec_of(name, job, store),
        source=source_of(job, chunk_bytes, holder=sessions),
        sessions=sessions,
        repository=repository(store),
        guard=guard_of(settings, job, store, run_id, leftovers=leftovers),
        leftovers=leftovers,
        ledger=FileRunHistory(settings.state_directory / "runs"),
        progress=progress,
        clock=now,
        host=socket.gethostname(),
        choose_workers=lambda each: _workers(job, each, tasks_per_slot=tasks_per_slot),
        new_run_id=lambda: run_id,
        peak_memory_bytes=peak_memory_bytes,
        cpu_seconds=cpu_seconds,
        proofs=_proofs(settings, kept_in),
        journal=FileJournal(settings.state_directory / "unfinished"),
        lists=HostFileLists(settings.state_directory / "lists"),
        gauges=_gauges(settings),
        pace=lambda each: _pace(job, each),
        mirrors=tuple(_mirror(settings, job, each, run_id) for each in mirrors),
        host_guard=host_guard(settings, job, run_id) if mirrors else None,
        room=lambda slots: _room(slots, tasks_per_slot=tasks_per_slot),
        refused_tasks=refused_tasks,
        blob_secret=lambda: lasting_secret(settings.state_directory / BLOB_SECRET),
    )


def store_name(settings: Settings, job: str, *, chosen: str = "") -> str:
    """The repository of `job`, or the one `chosen`; a job that is no longer configured is looked
    for in the only repository there is. Raises `UnknownJob`."""
    if chosen:
        return chosen
    if job not in settings.jobs and len(settings.repositories) == 1:
        (only,) = settings.repositories
        return only
    return job_settings(settings, job).repository


def repository_settings(settings: Settings, name: str) -> RepositorySettings:
    """The repository called `name`; raises `ConfigInvalid` with the nearest one."""
    if name not in settings.repositories:
        raise ConfigInvalid(
            f"cannot find repository '{name}': it is not configured",
            hint=did_you_mean(name, settings.repositories),
        )
    return settings.repositories[name]


def job_settings(settings: Settings, name: str) -> JobSettings:
    """The job called `name`; raises `UnknownJob` with the nearest one."""
    if name not in settings.jobs:
        raise UnknownJob(
            f"cannot find job '{name}': it is not configured",
            hint=did_you_mean(name, settings.jobs) or "add it to the configuration",
        )
    return settings.jobs[name]


def copying(settings: Settings, job: str, *, to: str, chosen: str = "") -> CopyContext:
    """What one copy of `job` to the repository `to` touches. Raises `ConfigInvalid`."""
    kept_in = store_name(settings, job, chosen=chosen)
    target = repository_settings(settings, to)
    if kept_in == to:
        raise ConfigInvalid(
            f"cannot copy job '{job}': its backups are in '{to}' already",
            hint="--to names another repository of the configuration",
        )
    source, there = repository_settings(settings, kept_in), raw_repository(target)
    leftovers = Leftovers()
    return CopyContext(
        source=raw_repository(source),
        target=there,
        believed=repository(source),
        require_believed=partial(require_believed, there, target.authentication),
        guard=guard_of(
            settings,
            job_settings(settings, job),
            target,
            secrets.token_hex(16),
            leftovers=leftovers,
        ),
        leftovers=leftovers,
        at_once=uploads_at_once(target),
    )


def repository_of(settings: Settings, job: str, *, chosen: str = "") -> Repository:
    """Where backups of `job` are, or the repository `chosen` by name."""
    return repository(repository_settings(settings, store_name(settings, job, chosen=chosen)))


def is_signed(settings: Settings, job: str, *, chosen: str = "") -> bool:
    """Whether only signed manifests are believed where backups of `job` are."""
    name = store_name(settings, job, chosen=chosen)
    return repository_settings(settings, name).authentication is not None


def failed_statements(settings: Settings) -> FailedStatements:
    """Where restores that keep going leave the statements of what they could not make."""
    return FileFailedStatements(settings.state_directory / "failed-statements")


def index_of(settings: Settings, job: str, *, chosen: str = "") -> ManifestIndex:
    """Overviews of the repository that has the backups of `job`."""
    name = store_name(settings, job, chosen=chosen)
    store = repository_settings(settings, name)
    return ManifestIndex(
        repository(store),
        settings.state_directory / "index" / f"{name}.sqlite",
        believed=believed_keys(store.authentication),
    )


def reader_of(
    settings: Settings,
    job: str,
    *,
    progress: Progress,
    identities: Identities | None = None,
    chosen: str = "",
) -> BackupReader:
    """What reads backups of `job` back."""
    name = store_name(settings, job, chosen=chosen)
    return BackupReader(
        repository=repository(repository_settings(settings, name)),
        proofs=_proofs(settings, name),
        clock=now,
        progress=progress,
        identities=identities,
    )


def _proofs(settings: Settings, name: str) -> VerificationLog:
    """Of one repository: what was read in one place says nothing of another."""
    return FileVerificationLog(settings.state_directory / "proofs" / f"{name}.sqlite")


def reading_budget(settings: Settings, job: str) -> Budget:
    """The slots for reading a backup of `job` back, where no server limits the sessions."""
    configured = settings.jobs.get(job)
    asked = configured.max_concurrent_processes if configured else None
    return _announced(process_budget(live_limits(), asked=asked, connections_free=None))


def sessions_of(settings: Settings, name: str) -> tuple[Holder, HeldKind]:
    """Where sessions of job `name` come from, and what its engine needs them for.

    Raises `UnknownJob`, and `Unsupported` where its server knows no such thing.
    """
    source = job_settings(settings, name).source
    if not isinstance(source, PostgresSettings):
        raise Unsupported(
            f"cannot hold a session for job '{name}': a {source.kind} server has none to share",
            hint="sessions are for PostgreSQL: base backups and exported snapshots",
        )
    kind = HeldKind.BACKUP if source.method == "physical" else HeldKind.SNAPSHOT
    return clusters.postgres_holder(source, "holdfast-sessiond"), kind


def spec_of(name: str, job: JobSettings, store: RepositorySettings) -> JobSpec:
    keep = job.retention
    return JobSpec(
        name=name,
        codec=job.compression.codec,
        level=job.compression.effective_level,
        timeout=job.timeout,
        stall_timeout=job.stall_timeout,
        attempts=job.attempts,
        overlap_alarm=job.overlap_alarm,
        blob_grace=job.blob_grace,
        resumable=job.resumable,
        notes=_notes(job),
        recipients=store.encryption.everybody if store.encryption else (),
        cluster=_cluster(job),
        retention=Policy(
            last=keep.last,
            within=keep.within,
            daily=keep.daily,
            weekly=keep.weekly,
            monthly=keep.monthly,
            yearly=keep.yearly,
        ),
    )


def _cluster(job: JobSettings) -> str:
    source = job.source
    named = source.system_identifier if isinstance(source, PostgresSettings) else None
    return "" if named is None else str(named)


def _memory(job: JobSettings) -> MemoryBudget | None:
    if job.memory_limit_mb is None:
        return None
    level = job.compression.effective_level
    return MemoryBudget(
        limit_bytes=job.memory_limit_mb << 20,
        compressor_bytes=context_bytes(job.compression.codec, level),
    )


def _pace(job: JobSettings, source: Source) -> Throttle:
    limits: list[ThrottleLimit] = []
    if job.pause_above_load is not None:
        limits.append(
            ThrottleLimit(name="load", most=job.pause_above_load, look=lambda: os.getloadavg()[0])
        )
    if job.pause_above_lag is not None:
        most = job.pause_above_lag.total_seconds()
        limits.append(ThrottleLimit(name="replication lag", most=most, look=source.lag_seconds))
    return Throttle(bytes_per_second=job.max_rate, limits=limits)


def _gauges(settings: Settings) -> Gauges:
    folder = settings.metrics_directory
    return NoGauges() if folder is None else TextfileGauges(folder)


def _notes(job: JobSettings) -> tuple[str, ...]:
    """What was asked for and is not done so."""
    asked, level = job.compression.asked_level, job.compression.effective_level
    if asked == level:
        return ()
    return (f"compression level {asked} was lowered to {level}: see level_cap",)


def _mirror(settings: Settings, job: JobSettings, name: str, run_id: str) -> Mirror:
    store, leftovers = repository_settings(settings, name), Leftovers()
    return Mirror(
        name=name,
        repository=repository(store),
        guard=leased_guard(OwnedGuard(), job, store, run_id, leftovers=leftovers),
        leftovers=leftovers,
    )


def _workers(job: JobSettings, source: Source, *, tasks_per_slot: int) -> Budget:
    return _announced(
        process_budget(
            live_limits(),
            asked=job.max_concurrent_processes,
            connections_free=source.connections_free(),
            memory=_memory(job),
            tasks_per_slot=tasks_per_slot,
        )
    )


def _announced(budget: Budget) -> Budget:
    events.info(
        budget.headline,
        decided_by=budget.decided_by,
        allowed=budget.allowed,
        tasks={each.name: f"{each.used} of {each.most}" for each in budget.ceilings},
    )
    return budget


def _room(slots: int, *, tasks_per_slot: int) -> AdaptiveLimit:
    def look(working: int, threads: int) -> int:
        return slots_now(
            live_limits(), working=working, threads=threads, tasks_per_slot=tasks_per_slot
        )

    return AdaptiveLimit(slots, look=look)
