"""Report the state of a job, and check whether its next run has everything that it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.drill_records import DrillRecords, Drills
from holdfast.model.errors import HoldfastError, RepositoryFull, WalNotArchived
from holdfast.model.lazy_dataclass import dataclass, field
from holdfast.model.units import counted, size
from holdfast.operations.wal.list import require_cluster_of_backups
from holdfast.pipeline.encryption import sealed
from holdfast.ports.host_state import skipped_in_a_row
from holdfast.ports.source import Finding, Source

if TYPE_CHECKING:
    from holdfast.model.backup import Manifest
    from holdfast.model.wal_archive import Archiver
    from holdfast.operations.context import JobSpec
    from holdfast.ports.host_state import Gauges, RunHistory, RunRecord
    from holdfast.ports.notify import Receiver
    from holdfast.ports.repository import Repository
    from holdfast.ports.run import Clock, Guard


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusContext:
    """The dependencies of a status: the job's backups, its last runs, its lock and its server."""

    job: JobSpec
    archiver: Callable[[], Archiver | None]
    repository: Repository
    history: RunHistory
    guard: Guard
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """The state of one job."""

    job: str
    newest: Manifest | None
    age: timedelta | None
    backups: int
    damaged: int
    last_run: RunRecord | None
    skipped_in_a_row: int
    failures: int = 0
    owner: dict[str, str] | None
    finished_run: RunRecord | None = None
    """The newest run that was not skipped."""
    archiver: Archiver | None = None
    """How the server archives its WAL; None if it does not or could not be asked."""
    archiver_unknown: str = ""
    """Why the server could not be asked."""
    databases: frozenset[str] = frozenset()
    """The databases that have a backup."""
    drills: Drills = field(default_factory=Drills)
    """The job's drills, newest first."""
    suspicious: Mapping[str, str] = field(default_factory=dict)
    """Why the newest backup of a database is much smaller or larger than usual, by its id."""

    def problem(self, max_age: timedelta | None, *, set_by: str = "--max-age") -> str:
        """Why the job needs attention; empty if it needs none. `set_by` names what set the age."""
        if self.finished_run and self.finished_run.outcome == "failed":
            return "the last run failed"
        if self.damaged:
            return f"{self.damaged} of its backups cannot be read"
        if self.archiver is not None and self.archiver.problem:
            return self.archiver.problem
        if self.drills.newest is not None and not self.drills.newest.passed:
            return f"its last drill failed: {self.drills.newest.problem}"
        # A good drill of one database says nothing of the others; a dropped one has no backup.
        for drill in self.drills.newest_of_each:
            if not drill.passed and drill.database in self.databases:
                return f"the last drill of database '{drill.database}' failed: {drill.problem}"
        if self.drills.damaged:
            return f"{counted(len(self.drills.damaged), 'record')} of its drills cannot be read"
        if max_age is not None and self.age is None:
            return "it has no backup"
        if max_age is not None and self.age is not None and self.age > max_age:
            return f"its newest backup is older than {set_by} allows"
        return ""


def status(context: StatusContext) -> JobStatus:
    """Read the repository, the run history and the lock of one job; changes nothing.

    Also asks the server of a cluster how it archives its WAL.
    """
    survey = Catalog(context.repository).survey(context.job.name)
    newest = survey.manifests[0] if survey.manifests else None
    runs = context.history.last(context.job.name, count=50)
    archiver, unknown = _archiver(context)
    rule = context.job.rules.suspicion
    return JobStatus(
        job=context.job.name,
        newest=newest,
        age=context.clock() - newest.snapshot_at if newest else None,
        backups=len(survey.manifests),
        damaged=len(survey.damaged),
        last_run=runs[0] if runs else None,
        skipped_in_a_row=skipped_in_a_row(runs),
        failures=len(survey.failures),
        owner=context.guard.owner(context.job.name),
        finished_run=next((run for run in runs if run.outcome != "skipped"), None),
        archiver=archiver,
        archiver_unknown=unknown,
        suspicious=rule.newest_of_each(survey.manifests) if rule else {},
        databases=frozenset(each.server.database for each in survey.manifests),
        drills=DrillRecords(context.repository, context.job.name).all(),
    )


def _archiver(context: StatusContext) -> tuple[Archiver | None, str]:
    """The server's archiver, or why it is unknown; only `check` reports a server that is down."""
    try:
        return context.archiver(), ""
    except HoldfastError as error:
        return None, error.message


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckContext:
    """The dependencies of a check.

    `mirrors` are the job's other repositories and `receivers` those who are told about its runs, by
    name.
    """

    job: JobSpec
    source: Source
    repository: Repository
    gauges: Gauges
    mirrors: Mapping[str, Repository] = field(default_factory=dict)
    receivers: Mapping[str, Receiver] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """The findings for one job; the exit code is that of the first problem."""

    job: str
    findings: tuple[Finding, ...]
    exit_code: int


def check(context: CheckContext) -> CheckReport:
    """Log in to the source, write to the repository, compare the free space.

    Leaves nothing behind, unless the store refuses deletes: then a finding says so. Every problem
    becomes a finding.
    """
    looks = _Looks()
    looks.at("repository", lambda: _repository("repository", context.repository))
    for name, mirror in context.mirrors.items():
        subject = f"repository {name}"
        looks.at(subject, partial(_repository, subject, mirror))
    looks.at("metrics", lambda: _metrics(context))
    looks.at("encryption", lambda: _encryption(context))
    for name, receiver in context.receivers.items():
        looks.at(f"receiver {name}", partial(_receiver, name, receiver))
    from holdfast.operations.backup.hooks import missing

    hooks = context.job.hooks
    looks.at("hooks", lambda: missing((*hooks.before, *hooks.after, *hooks.failed)))
    sources: list[Source] = []
    looks.at("source", lambda: _databases(context, sources))
    for source in sources:
        looks.at(_subject("source", source, sources), source.check)
        looks.at(_subject("archiver", source, sources), partial(_archiving, context, source))
    if not looks.codes:
        # Free space needs the source and the repository: if one fails, a finding says so already.
        looks.at("room", lambda: _room(context, sources))
    return CheckReport(
        job=context.job.name,
        findings=tuple(looks.findings),
        exit_code=looks.codes[0] if looks.codes else 0,
    )


@dataclass(slots=True)
class _Looks:
    """The findings so far, and the exit codes of the problems."""

    findings: list[Finding] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)

    def at(self, subject: str, look: Callable[[], Sequence[Finding]]) -> None:
        """Run one check; an error becomes a finding, so that the operator sees all problems."""
        try:
            self.findings.extend(look())
        except HoldfastError as error:
            told = Finding(subject=subject, detail="", problem=error.message, hint=error.hint)
            self.findings.append(told)
            self.codes.append(error.exit_code)


def _repository(subject: str, repository: Repository) -> list[Finding]:
    return [_works(subject, repository.check())]


def _works(subject: str, kept_because: str) -> Finding:
    if not kept_because:
        return Finding(subject=subject, detail="put, read and delete work")
    return Finding(
        subject=subject,
        detail=f"put and read work, but some objects cannot be deleted: {kept_because}",
        hint="what runs leave stays until you run prune and repair with a login that may delete",
    )


def _receiver(name: str, receiver: Receiver) -> list[Finding]:
    receiver.check()
    told = f"a {receiver.kind}; holdfast notify test sends to it"
    return [Finding(subject=f"receiver {name}", detail=told)]


def _metrics(context: CheckContext) -> list[Finding]:
    folder = context.gauges.check()
    return [Finding(subject="metrics", detail=f"written to '{folder}'")] if folder else []


def _encryption(context: CheckContext) -> list[Finding]:
    recipients = context.job.form.recipients
    if not recipients:
        return []
    sealed(b"holdfast", recipients)
    return [Finding(subject="encryption", detail=f"age, for {', '.join(recipients)}")]


def _databases(context: CheckContext, sources: list[Source]) -> list[Finding]:
    sources += context.source.databases()
    if len(sources) == 1:
        return []
    names = ", ".join(f"'{source.database}'" for source in sources)
    return [Finding(subject="databases", detail=f"{len(sources)}: {names}")]


def _archiving(context: CheckContext, source: Source) -> list[Finding]:
    found = source.archiver()
    if found is None:
        return []
    require_cluster_of_backups(context.job, context.repository, found.cluster)
    if found.problem:
        raise WalNotArchived(
            f"cannot archive WAL of job '{context.job.name}': {found.problem}",
            hint="the server keeps unarchived WAL until its disk is full; find the cause in its"
            " log, or run the archive command by hand as the server's user",
        )
    return [Finding(subject="archiver", detail=found.told)]


def _subject(what: str, source: Source, sources: Sequence[Source]) -> str:
    return what if len(sources) == 1 else f"{what} '{source.database}'"


def _room(context: CheckContext, sources: Sequence[Source]) -> list[Finding]:
    """The plain estimate must fit, as compressed sizes are not known beforehand."""
    needed = sum(source.plan().estimated_bytes for source in sources)
    free = context.repository.free_bytes()
    if free is None:
        return [Finding(subject="room", detail="the store does not report its free space")]
    if free < needed:
        raise RepositoryFull(
            f"cannot be sure of enough space for job '{context.job.name}': "
            f"{size(free)} are free, up to {size(needed)} are needed",
            hint="free space, prune old backups (holdfast prune), or use a larger store",
        )
    return [Finding(subject="room", detail=f"{size(free)} free, at most {size(needed)} needed")]
