"""Settings into objects: the only place that knows every class.

Drivers are imported by the function that builds them: a `holdfast list` on a MySQL host does
not wait for the PostgreSQL driver to load.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from holdfast import events
from holdfast import wiring_clusters as clusters
from holdfast.config.problems import did_you_mean
from holdfast.config.secret import read_secret
from holdfast.config.settings import (
    CompressionSettings,
    JobSettings,
    LocalSettings,
    MysqlSettings,
    PostgresSettings,
    RepositorySettings,
    Settings,
    SourceSettings,
)
from holdfast.errors import UnknownJob, Unsupported
from holdfast.holding import HeldKind, Holder
from holdfast.metrics import NoGauges, TextfileGauges, cpu_seconds, peak_memory_bytes
from holdfast.model import Selection
from holdfast.operations.plugs import JobSpec, Plugs
from holdfast.pipeline.compress import context_bytes
from holdfast.ports import Gauges, Guard, Progress, Repository, Source, Target
from holdfast.repositories.local import LocalRepository
from holdfast.retention import Policy
from holdfast.scheduling.budget import Budget, MemoryRoom, process_budget
from holdfast.scheduling.guard import FlockGuard, WaitingGuard
from holdfast.scheduling.journal import FileJournal
from holdfast.scheduling.ledger import FileLedger
from holdfast.scheduling.limits import live_limits
from holdfast.scheduling.pace import Limit, Pace


def plugs_for(
    settings: Settings, name: str, *, progress: Progress, chunk_bytes: int | None = None
) -> Plugs:
    """Everything for one run of job `name`; nothing is connected yet. Raises `UnknownJob`.

    `chunk_bytes` overrules the configured size above which tables are split.
    """
    job = job_settings(settings, name)
    source = _source(job, chunk_bytes, clusters.holding_daemon(settings, name, job))
    run_id = secrets.token_hex(16)
    return Plugs(
        job=_spec(name, job),
        source=source,
        repository=_repository(settings.repositories[job.repository]),
        guard=_guard(settings, job, run_id),
        ledger=FileLedger(settings.state_directory / "runs"),
        progress=progress,
        clock=now,
        host=socket.gethostname(),
        choose_workers=lambda each: _announced(
            process_budget(
                live_limits(),
                asked=job.max_concurrent_processes,
                connections_free=each.connections_free(),
                memory=_memory(job),
            )
        ),
        new_run_id=lambda: run_id,
        peak_memory_bytes=peak_memory_bytes,
        cpu_seconds=cpu_seconds,
        journal=FileJournal(settings.state_directory / "unfinished"),
        gauges=_gauges(settings),
        pace=lambda each: _pace(job, each),
    )


def job_settings(settings: Settings, name: str) -> JobSettings:
    """The job called `name`; raises `UnknownJob` with the nearest one."""
    if name not in settings.jobs:
        raise UnknownJob(
            f"cannot find job '{name}': it is not configured",
            hint=did_you_mean(name, settings.jobs) or "add it to the configuration",
        )
    return settings.jobs[name]


def repository_of(settings: Settings, job: str) -> Repository:
    """Where backups of `job` are; a job that is no longer configured is looked for in the
    only repository there is."""
    if job not in settings.jobs and len(settings.repositories) == 1:
        (only,) = settings.repositories.values()
        return _repository(only)
    return _repository(settings.repositories[job_settings(settings, job).repository])


def all_repositories(settings: Settings) -> dict[str, Repository]:
    return {name: _repository(each) for name, each in settings.repositories.items()}


def reading_budget(settings: Settings, job: str) -> Budget:
    """The slots for reading a backup of `job` back, where no server limits the sessions."""
    configured = settings.jobs.get(job)
    asked = configured.max_concurrent_processes if configured else None
    return _announced(process_budget(live_limits(), asked=asked, connections_free=None))


def target_for(url: str, *, kind: str, password_file: Path | None) -> Target:
    """A database to restore a backup of server kind `kind` into. Raises `Unsupported`."""
    scheme = urlsplit(url).scheme if "://" in url else ""
    if scheme not in TARGETS:
        raise Unsupported(
            f"cannot restore into a '{scheme or url}' target: no engine knows it",
            hint="--to takes postgresql://USER@/DATABASE, mysql://USER@HOST/DATABASE or file:///DIRECTORY",
        )
    make, kinds = TARGETS[scheme]
    if kind not in kinds:
        raise Unsupported(
            f"cannot restore into a '{scheme}' target: the backup is of a {kind} server",
            hint="name a database of the same kind with --to, for a cluster file:///DIRECTORY",
        )
    return make(url, _password(password_file))


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
    kind = HeldKind.BACKUP if source.engine == "physical" else HeldKind.SNAPSHOT
    return clusters.postgres_holder(source, "holdfast-sessiond"), kind


def now() -> datetime:
    return datetime.now(UTC)


def _spec(name: str, job: JobSettings) -> JobSpec:
    keep = job.retention
    return JobSpec(
        name=name,
        codec=job.compression.codec,
        level=job.compression.effective_level,
        timeout=job.timeout,
        stall_timeout=job.stall_timeout,
        attempts=job.attempts,
        resumable=job.resumable,
        notes=_notes(job),
        retention=Policy(
            last=keep.last,
            daily=keep.daily,
            weekly=keep.weekly,
            monthly=keep.monthly,
            yearly=keep.yearly,
        ),
    )


def _chunked(source: SourceSettings, chunk_bytes: int | None) -> SourceSettings:
    if chunk_bytes is None:
        return source
    if not isinstance(source, PostgresSettings):
        raise Unsupported(
            f"cannot split tables of a {source.kind} source at a size of your choice",
            hint="leave --chunk-size out",
        )
    return source.model_copy(update={"chunk_size": chunk_bytes})


def _memory(job: JobSettings) -> MemoryRoom | None:
    if job.memory_limit_mb is None:
        return None
    level = job.compression.effective_level
    return MemoryRoom(
        limit_bytes=job.memory_limit_mb << 20,
        compressor_bytes=context_bytes(job.compression.codec, level),
    )


def _pace(job: JobSettings, source: Source) -> Pace:
    limits: list[Limit] = []
    if job.pause_above_load is not None:
        limits.append(
            Limit(name="load", most=job.pause_above_load, look=lambda: os.getloadavg()[0])
        )
    if job.pause_above_lag is not None:
        most = job.pause_above_lag.total_seconds()
        limits.append(Limit(name="replication lag", most=most, look=source.lag_seconds))
    return Pace(bytes_per_second=job.max_rate, limits=limits)


def _gauges(settings: Settings) -> Gauges:
    folder = settings.metrics_directory
    return NoGauges() if folder is None else TextfileGauges(folder)


def _notes(job: JobSettings) -> tuple[str, ...]:
    """What was asked for and is not done so."""
    asked, level = job.compression.asked_level, job.compression.effective_level
    if asked == level:
        return ()
    return (f"compression level {asked} was lowered to {level}: see level_cap",)


def _guard(settings: Settings, job: JobSettings, run_id: str) -> Guard:
    guard = FlockGuard(settings.state_directory / "locks", clock=now, run_id=run_id)
    return WaitingGuard(guard, at_most=job.wait_at_most) if job.overlap == "wait" else guard


def _announced(budget: Budget) -> Budget:
    events.info(budget.headline, decided_by=budget.decided_by, allowed=budget.allowed)
    return budget


def _password(file: Path | None) -> str | None:
    return read_secret(file).reveal() if file else None


def _repository(settings: RepositorySettings) -> Repository:
    return REPOSITORIES[type(settings)](settings)


def _source(job: JobSettings, chunk_bytes: int | None, holder: Holder | None) -> Source:
    settings = _chunked(job.source, chunk_bytes)
    if isinstance(settings, PostgresSettings) and settings.engine == "physical":
        return clusters.physical_source(settings, job, holder)
    return SOURCES[type(settings)](settings, job.compression)


def _local_repository(settings: LocalSettings) -> Repository:
    return LocalRepository(settings.path)


def _postgres_source(settings: PostgresSettings, compression: CompressionSettings) -> Source:
    if settings.engine == "tools":
        return _postgres_tools_source(settings, compression)
    from holdfast.sources.postgres_native.source import PostgresSource

    return PostgresSource(
        dsn=settings.dsn,
        password=_password(settings.password_file),
        transport=settings.transport,
        chunk_bytes=settings.chunk_size,
        external_bytes=settings.blob_size if settings.blobs == "external" else None,
        selection=_selection(settings),
    )


def _selection(settings: PostgresSettings) -> Selection | None:
    if settings.databases is None:
        return None
    include = ("*",) if settings.databases == "all" else settings.databases
    return Selection(include=include, exclude=settings.exclude_databases)


def _postgres_tools_source(settings: PostgresSettings, compression: CompressionSettings) -> Source:
    from holdfast.sources.postgres_tools.source import PostgresToolsSource

    return PostgresToolsSource(
        dsn=settings.dsn,
        password=_password(settings.password_file),
        codec=compression.codec,
        level=compression.effective_level,
        selection=_selection(settings),
    )


def _mysql_source(settings: MysqlSettings, _compression: CompressionSettings) -> Source:
    from holdfast.sources.mysql_native.source import MysqlSource

    return MysqlSource(dsn=settings.dsn, password=_password(settings.password_file))


def _postgres_target(url: str, password: str | None) -> Target:
    from holdfast.sources.postgres_native.target import PostgresTarget

    return PostgresTarget(url=url, password=password)


def _mysql_target(url: str, password: str | None) -> Target:
    from holdfast.sources.mysql_native.target import MysqlTarget

    return MysqlTarget(url=url, password=password)


# Each constructor takes the one type that is its key, which a dictionary's type cannot say.
REPOSITORIES: dict[type, Callable[[Any], Repository]] = {LocalSettings: _local_repository}
SOURCES: dict[type, Callable[[Any, CompressionSettings], Source]] = {
    PostgresSettings: _postgres_source,
    MysqlSettings: _mysql_source,
}

MakeTarget = Callable[[str, str | None], Target]
_POSTGRES: tuple[MakeTarget, frozenset[str]] = (_postgres_target, frozenset({"postgres"}))
_MYSQL: tuple[MakeTarget, frozenset[str]] = (_mysql_target, frozenset({"mysql", "mariadb"}))
_DIRECTORY: tuple[MakeTarget, frozenset[str]] = (
    clusters.directory_target,
    frozenset({"postgres-cluster"}),
)
TARGETS = {
    "file": _DIRECTORY,
    "postgres": _POSTGRES,
    "postgresql": _POSTGRES,
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
}
