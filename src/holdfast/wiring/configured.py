"""A job of the settings with its repository: what each command begins with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from holdfast.config.sources import PostgresSettings
from holdfast.model.fingerprints import FAST, ONLY_SHA256
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.retention import Policy
from holdfast.operations.context import (
    Hook,
    Hooks,
    HostState,
    JobSpec,
    RunRules,
    StoredForm,
)
from holdfast.wiring import limits
from holdfast.wiring.repositories import unknown_job, unknown_repository

if TYPE_CHECKING:
    from holdfast.config.hooks import HookSettings
    from holdfast.config.repositories import RepositorySettings
    from holdfast.config.settings import JobSettings, Settings
    from holdfast.model.backup import Summary
    from holdfast.ports.host_state import Gauges, VerificationLog
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
        from holdfast.wiring.sources import holding_daemon

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
        from holdfast.host_state.runs import FileJournal, FileRunHistory

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
