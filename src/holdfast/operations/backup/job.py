"""Back up every database of a job; a database that fails does not stop the others.

The same holds for the repositories of a job that has several: one that fails is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import field, replace
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from holdfast.catalog.catalog import Catalog
from holdfast.model.errors import (
    BackupFailed,
    DatabaseUnreachable,
    HoldfastError,
    LeaseLost,
    Reported,
    RepositoryBusy,
    RunInFlight,
    SkippedTooOften,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.operations.append_only import AppendOnly
from holdfast.operations.backup.attempt import BackupChoice
from holdfast.operations.backup.database import back_up
from holdfast.operations.backup.earlier import end_left, left_sessions
from holdfast.operations.backup.hooks import Ending, RunHooks
from holdfast.operations.parts.mirrored import (
    FailedStore,
    Member,
    Mirrored,
    failed_stores,
    in_each_store,
)
from holdfast.operations.retry import Retries
from holdfast.operations.wal.list import wal_reach
from holdfast.ports.host_state import RunRecord, Unfinished, skipped_in_a_row
from holdfast.runtime import events
from holdfast.runtime.cleanup import noted_on

if TYPE_CHECKING:
    from holdfast.model.backup import Manifest
    from holdfast.operations.context import BackupContext
    from holdfast.ports.run import Hold
    from holdfast.ports.source import Source

RUNS_SEEN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedDatabase:
    """A database of the job that has no backup from this run."""

    database: str
    error: HoldfastError


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """The result of one run of a job: backups, failed databases, and failed repositories.

    `without` names the repositories that have no backup from this run. `warnings` tell what went
    wrong beside it, such as a hook that failed.
    """

    job: str
    run_id: str
    manifests: tuple[Manifest, ...]
    failures: tuple[FailedDatabase, ...] = ()
    without: tuple[FailedStore, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def manifest(self) -> Manifest:
        """The backup of a job with one database."""
        (only,) = self.manifests
        return only

    @property
    def error(self) -> HoldfastError | None:
        """Why the run failed; if several databases failed, an error that names them."""
        if not self.failures:
            return failed_with(self.job, self.without)
        if len(self.failures) == 1:
            return self.failures[0].error
        names = ", ".join(f"'{each.database}'" for each in self.failures)
        return BackupFailed(
            f"cannot back up job '{self.job}': {len(self.failures)} databases failed: {names}",
            hint="holdfast list shows the cause of each failure",
        )


@dataclass
class _Run:
    """One run in progress, for the run history."""

    run_id: str
    started_at: datetime
    manifests: list[Manifest] = field(default_factory=list)
    failures: list[FailedDatabase] = field(default_factory=list)
    without: tuple[FailedStore, ...] = ()
    warnings: list[str] = field(default_factory=list)
    suspicious: list[str] = field(default_factory=list)

    def report(self, job: str) -> RunReport:
        return RunReport(
            job=job,
            run_id=self.run_id,
            manifests=tuple(self.manifests),
            failures=tuple(self.failures),
            without=self.without,
            warnings=tuple(self.warnings),
        )


def backup(context: BackupContext, choice: BackupChoice | None = None) -> RunReport:
    """Back up one job.

    The run history records every outcome. Raises `RunInFlight` if another run owns the job,
    `SkippedTooOften` if many runs in a row were skipped, `RepositoryBusy`, and `LeaseLost`. A job
    with one database also raises that database's error. With several, the report holds failures
    beside backups. If one of several repositories fails, the report names it; the others have
    their backups.
    """
    choice = choice or BackupChoice()
    run = _Run(run_id=context.ownership.new_run_id(), started_at=context.host.clock())
    hooks = RunHooks(job=context.job, run_id=run.run_id, warnings=run.warnings)
    with _recorded(context, run), hooks.on_error():
        timeout = context.job.rules.timeout
        deadline = run.started_at + timeout if timeout else None
        with held(context, deadline=deadline) as (everywhere, hold):
            context.ownership.begun()
            events.reached("backup-locked")
            with hooks.around(lambda: _ending(context, run)):
                sources = Retries(context.job.rules.attempts).trying(
                    context.source.databases, on=DatabaseUnreachable, what="listing the databases"
                )
                _sweep(everywhere, sources, choice)
                events.reached("backup-swept")
                _take_each(everywhere, sources, run, choice=choice, hold=hold)
                _compare_sizes(context, run)
                _show_stores(context, run)
                run.without = failed_stores(everywhere.repository)
    return run.report(context.job.name)


def _ending(context: BackupContext, run: _Run) -> Ending:
    backups = tuple(each.backup_id for each in run.manifests)
    return Ending(backups=backups, error=run.report(context.job.name).error)


def _sweep(context: BackupContext, sources: Sequence[Source], choice: BackupChoice) -> None:
    """Remove what dead runs left, except what this run will resume."""
    earlier: list[Unfinished] = []
    if choice.resume:
        found = [
            context.state.journal.read(context.job.name, source.database) for source in sources
        ]
        earlier = [each for each in found if each is not None]
    holder = context.sessions
    end_left(holder, left_sessions(holder, spare=[each.snapshot for each in earlier]))
    spare = [each.backup_id for each in earlier]
    in_each_store(
        context.repository, lambda store: Catalog(store).sweep(context.job.name, spare=spare)
    )


def _take_each(
    context: BackupContext,
    sources: Sequence[Source],
    run: _Run,
    *,
    choice: BackupChoice,
    hold: Hold,
) -> None:
    for source in sources:
        name_id = run.run_id if len(sources) == 1 else _name_id(run.run_id, source.database)
        try:
            manifest = back_up(
                context, source, choice, run_id=run.run_id, name_id=name_id, hold=hold
            )
        except LeaseLost:
            raise
        except HoldfastError as error:
            if len(sources) == 1:
                raise
            events.error("database_failed", database=source.database, error=error.message)
            run.failures.append(FailedDatabase(database=source.database, error=error))
        else:
            run.manifests.append(manifest)


def _compare_sizes(context: BackupContext, run: _Run) -> None:
    """Warn of backups much smaller or larger than those before them; never fails the run.

    All databases share one look: it lists the job's folder in the repository.
    """
    rule = context.job.rules.suspicion
    if rule is None or not run.manifests:
        return
    try:
        known = context.state.known_backups()
    except HoldfastError as error:
        events.warning("earlier_backups_not_read", job=context.job.name, problem=error.message)
        return
    for made in run.manifests:
        why = rule.of(made, [each for each in known if each.backup_id != made.backup_id])
        if why:
            events.warning("backup_suspicious", backup=made.backup_id, because=why)
            run.warnings.append(f"backup {made.backup_id} is suspicious: {why}")
            run.suspicious.append(made.backup_id)


def _show_stores(context: BackupContext, run: _Run) -> None:
    """Publish the free space and the archived WAL after a backup; never fails the run."""
    repository, gauges = context.repository, context.state.gauges
    if not gauges.are_shown:
        return
    try:
        free = repository.free_bytes()
        if free is not None:
            gauges.show_room(context.job.name, free)
        for made in run.manifests:
            reach = wal_reach(repository, made, at=context.host.clock())
            if reach is not None:
                gauges.show_wal(reach)
    except HoldfastError as error:
        events.warning("metrics_not_measured", job=context.job.name, problem=error.message)


def _name_id(run_id: str, database: str) -> str:
    """An id for the backup's name: two databases of a run may begin in the same second."""
    return sha256(f"{run_id}/{database}".encode()).hexdigest()


def _alarm(context: BackupContext, error: HoldfastError) -> SkippedTooOften | None:
    """The error for too many skipped runs in a row; None below the limit."""
    runs = context.state.history.last(context.job.name, count=RUNS_SEEN)
    in_a_row = skipped_in_a_row(runs) + 1
    if in_a_row < context.job.rules.overlap_alarm:
        return None
    return SkippedTooOften(
        f"{error.message}; {in_a_row} runs in a row were skipped",
        hint="a run hangs, or `schedule` leaves too little time for it: compare `timeout` and"
        " `schedule`; holdfast status names the host and process of the run",
    )


@contextmanager
def _recorded(context: BackupContext, run: _Run) -> Iterator[None]:
    """Record every end of the run in the run history."""

    def record(outcome: str, error: BaseException | None = None) -> None:
        known = error if isinstance(error, Reported) else None
        written = RunRecord(
            job=context.job.name,
            run_id=run.run_id,
            outcome=outcome,
            started_at=run.started_at,
            finished_at=context.host.clock(),
            backup=run.manifests[-1].backup_id if run.manifests else "",
            error=str(error) if error else "",
            hint=known.hint if known else "",
            exit_code=(known.exit_code if known else 1) if error else 0,
            facts=_facts(run),
        )
        context.state.history.record(written)
        runs = context.state.history.last(context.job.name, count=RUNS_SEEN)
        context.state.gauges.show_run(written, skipped_in_a_row=skipped_in_a_row(runs))

    try:
        yield
    except (RunInFlight, RepositoryBusy) as error:
        alarm: SkippedTooOften | None = None
        # A history that cannot be read or written must not hide that the run was skipped.
        with noted_on(error):
            alarm = _alarm(context, error)
            record("skipped", alarm or error)
        if alarm is None:
            raise
        raise alarm from error
    except BaseException as error:
        with noted_on(error):
            record("failed", error)
        raise
    failed = run.report(context.job.name).error
    record("failed" if failed else "ok", failed)


def _facts(run: _Run) -> dict[str, str]:
    warned = {"warnings": "; ".join(run.warnings)} if run.warnings else {}
    if run.suspicious:
        warned["suspicious"] = " ".join(run.suspicious)
    if not run.failures and len(run.manifests) <= 1:
        return warned
    failed = ", ".join(each.database for each in run.failures)
    return {"databases": str(len(run.manifests) + len(run.failures)), "failed": failed, **warned}


@contextmanager
def held(
    context: BackupContext, *, deadline: datetime | None
) -> Iterator[tuple[BackupContext, Hold]]:
    """Lock the job; yields a context whose repository writes to all repositories of the job.

    Deletes that an append-only store refuses are skipped. A repository that is unreachable, or a
    mirror in which another run holds the job, has failed for this run. Raises `RunInFlight` or
    `RepositoryBusy` if another run holds the job on this host or in its own repository.
    """
    own, name = context.ownership, context.job.name
    if own.host_guard is None:
        with own.guard.hold(name, deadline=deadline) as hold:
            added_to = AppendOnly(context.repository, own.leftovers)
            yield replace(context, repository=added_to), hold
        return
    members = [
        Member(name=each.name, repository=AppendOnly(each.repository, each.leftovers))
        for each in own.mirrors
    ]
    together = Mirrored(members)
    with ExitStack() as stack:
        stack.enter_context(own.host_guard.hold(name, deadline=deadline))
        pairs = zip(members, own.mirrors, strict=True)
        # The same order on all hosts: else two could hold a slot each that the other one waits for.
        for member, mirror in sorted(pairs, key=lambda pair: pair[1].name):
            try:
                owned = mirror.guard.hold(name, deadline=deadline)
                member.hold = stack.enter_context(owned)
            except (RunInFlight, RepositoryBusy) as error:
                if member is members[0]:
                    raise
                together.fail(member, error)
            except HoldfastError as error:
                together.fail(member, error)
        yield replace(context, repository=together), MirroredHold(together, members)


def failed_with(job: str, without: tuple[FailedStore, ...]) -> HoldfastError | None:
    """The error of a run whose backups are good but missing in some repositories."""
    if not without:
        return None
    names = ", ".join(f"'{each.name}'" for each in without)
    first = without[0].error
    missing = " and ".join(f"holdfast copy {job} --to {each.name}" for each in without)
    return type(first)(
        f"cannot store the backup of job '{job}' in repository {names}: {first.message}",
        hint="the other repositories hold the complete backup: remove the cause, then run"
        f" {missing}",
    )


class MirroredHold:
    """Obeys `ports.run.Hold` for the leases in all repositories, each judged on its own."""

    def __init__(self, mirrored: Mirrored, members: Sequence[Member]) -> None:
        self._mirrored = mirrored
        self._members = members

    @property
    def lost(self) -> str:
        """Why the job is lost, once it is lost in every repository; `put` reports a single one."""
        lost = [each.hold.lost for each in self._members if each.hold and not each.error]
        return lost[0] if lost and all(lost) else ""

    def prove(self) -> None:
        for member in self._members:
            if member.hold is not None and member.error is None:
                try:
                    member.hold.prove()
                except HoldfastError as error:
                    self._mirrored.fail(member, error)
