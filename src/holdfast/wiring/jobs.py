"""Build from the settings the context that each command runs a job with.

Each function imports the verbs and drivers that it needs. `holdfast list` on a MySQL host must not
wait for the PostgreSQL driver to load, nor `wal push` for the code of `prune`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from holdfast.config.sources import PostgresSettings
from holdfast.host_state.runs import FileJournal, FileRunHistory
from holdfast.locking.host_lock import FlockGuard, OwnedGuard, WaitingGuard
from holdfast.model.errors import ConfigInvalid
from holdfast.model.fingerprints import FAST, ONLY_SHA256
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.retention import Policy
from holdfast.operations.append_only import AppendOnly, Leftovers
from holdfast.operations.context import (
    BackupContext,
    Hook,
    Hooks,
    Host,
    HostState,
    JobSpec,
    Mirror,
    Ownership,
    RunRules,
    StoredForm,
    nobody,
)
from holdfast.runtime import kernel_calls
from holdfast.runtime.clock import now
from holdfast.wiring import limits
from holdfast.wiring.repositories import (
    repository,
    repository_settings,
    store_name,
    unknown_job,
    unknown_repository,
    uploads_at_once,
)
from holdfast.wiring.sources import SourceOptions, holding_daemon, server_archiver, source_of

if TYPE_CHECKING:
    from holdfast.config.hooks import HookSettings
    from holdfast.config.repositories import RepositorySettings
    from holdfast.config.settings import JobSettings, Settings
    from holdfast.model.backup import Summary
    from holdfast.model.wal_archive import Archiver
    from holdfast.operations.backup.plan import PlanContext
    from holdfast.operations.copy.backups import CopyContext
    from holdfast.operations.prune import PruneContext
    from holdfast.operations.repair import RepairContext
    from holdfast.operations.status import CheckContext, StatusContext
    from holdfast.ports.host_state import Gauges, VerificationLog
    from holdfast.ports.run import Guard, Progress
    from holdfast.ports.sessions import Holder

_ALGORITHMS = {"blake3": FAST, "sha256": ONLY_SHA256}
BLOB_SECRET = "blob-names.key"  # noqa: S105 - the name of a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """The settings of job `name`, and of the repository that keeps its backups."""

    settings: Settings
    name: str
    job: JobSettings
    kept_in: str
    store: RepositorySettings

    @property
    def spec(self) -> JobSpec:
        """The job as operations see it."""
        job, source, keep = self.job, self.job.source, self.job.retention
        cluster = source.system_identifier if isinstance(source, PostgresSettings) else None
        return JobSpec(
            name=self.name,
            form=StoredForm(
                codec=job.compression.codec,
                level=job.compression.effective_level,
                recipients=self.store.encryption.everybody if self.store.encryption else (),
                fingerprints=_ALGORITHMS[job.fingerprint or self.settings.fingerprint],
                blob_memory_bytes=limits.blob_memory_bytes(job),
            ),
            rules=RunRules(
                timeout=job.timeout,
                stall_timeout=job.stall_timeout,
                attempts=job.attempts,
                resumable=job.resumable,
                overlap_alarm=job.overlap_alarm,
                suspicion=self.settings.suspicion_of(self.name),
            ),
            retention=Policy(
                last=keep.last,
                within=keep.within,
                daily=keep.daily,
                weekly=keep.weekly,
                monthly=keep.monthly,
                yearly=keep.yearly,
            ),
            blob_grace=job.blob_grace,
            notes=self._notes,
            cluster="" if cluster is None else str(cluster),
            hooks=Hooks(
                before=_hooks(job.hooks.before),
                after=_hooks(job.hooks.after),
                failed=_hooks(job.hooks.failed),
            ),
        )

    @property
    def sessions(self) -> Holder | None:
        """Holds sessions of the job beyond its runs; None unless the job asks for that."""
        if not self.job.source.held_by_daemon:
            return None
        return holding_daemon(self.settings, self.name, self.job)

    @property
    def verification_log(self) -> VerificationLog:
        """The log of this repository only: other repositories hold other copies of a part."""
        from holdfast.host_state.verification_log import FileVerificationLog

        folder = self.settings.state_directory / "proofs"
        return FileVerificationLog(folder / f"{self.kept_in}.sqlite")

    @property
    def gauges(self) -> Gauges:
        from holdfast.wiring.gauges import gauges_of

        return gauges_of(self.settings, self.name)

    @property
    def state(self) -> HostState:
        """This host's records of the job: run history, journal, file lists, verification log."""
        from holdfast.host_state.kept_files import HostFileLists, lasting_secret

        folder = self.settings.state_directory
        return HostState(
            history=FileRunHistory(folder / "runs"),
            journal=FileJournal(folder / "unfinished"),
            file_lists=HostFileLists(folder / "lists"),
            verification_log=self.verification_log,
            gauges=self.gauges,
            blob_secret=lambda: lasting_secret(folder / BLOB_SECRET),
            known_backups=self._known_backups,
        )

    def _known_backups(self) -> Sequence[Summary]:
        from holdfast.wiring.reading import index_of

        found = index_of(self.settings, self.name, chosen=self.kept_in)
        return found.overview(self.name).summaries

    @property
    def _notes(self) -> tuple[str, ...]:
        """Notes about settings that are not applied as configured."""
        asked = self.job.compression.asked_level
        level = self.job.compression.effective_level
        if asked == level:
            return ()
        return (f"compression level {asked} was lowered to {level}: see level_cap",)


def _hooks(configured: Iterable[HookSettings]) -> tuple[Hook, ...]:
    return tuple(Hook(argv=each.run, timeout=each.timeout) for each in configured)


def configured(settings: Settings, name: str, *, chosen: str = "") -> Configured:
    """The job `name`, with its own repository or the one `chosen`.

    Raises `UnknownJob`, and `ConfigInvalid` for a repository that is not configured.
    """
    job = settings.jobs.get(name)
    if job is None:
        raise unknown_job(settings, name)
    kept_in = chosen or job.repository
    store = settings.repositories.get(kept_in)
    if store is None:
        raise unknown_repository(settings, kept_in)
    return Configured(settings=settings, name=name, job=job, kept_in=kept_in, store=store)


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
    from holdfast.wiring.keys import require_believed

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
