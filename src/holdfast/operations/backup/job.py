"""Back up every database of a job: each whole or not at all, and one that fails spares the rest.

So it is with the job's repositories, where it has several: each gets its backups, or is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256

from holdfast.catalog.catalog import Catalog
from holdfast.model.backup import Manifest
from holdfast.model.errors import (
    BackupFailed,
    DatabaseUnreachable,
    HoldfastError,
    Interrupted,
    LeaseLost,
    RepositoryBusy,
    RunInFlight,
    SkippedTooOften,
)
from holdfast.operations.append_only import AppendOnly
from holdfast.operations.backup.attempt import BackupChoice
from holdfast.operations.backup.database import back_up
from holdfast.operations.backup.earlier import end_left, left_sessions
from holdfast.operations.context import BackupContext
from holdfast.operations.parts.mirrored import (
    FailedStore,
    Member,
    Mirrored,
    failed_stores,
    in_each_store,
)
from holdfast.operations.retry import Retries
from holdfast.ports.host_state import RunRecord, Unfinished
from holdfast.ports.run import Hold
from holdfast.ports.source import Source
from holdfast.runtime import events
from holdfast.runtime.cleanup import noted_on

RUNS_SEEN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedDatabase:
    """A database of the job that has no backup from this run."""

    database: str
    error: HoldfastError


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What one run of a job made, database by database, and which repositories go `without`."""

    job: str
    run_id: str
    manifests: tuple[Manifest, ...]
    failures: tuple[FailedDatabase, ...] = ()
    without: tuple[FailedStore, ...] = ()

    @property
    def manifest(self) -> Manifest:
        """The backup of a job with one database."""
        (only,) = self.manifests
        return only

    @property
    def error(self) -> HoldfastError | None:
        """Why the run as a whole failed: the one cause, or how many there were."""
        if not self.failures:
            return failed_with(self.job, self.without)
        if len(self.failures) == 1:
            return self.failures[0].error
        names = ", ".join(f"'{each.database}'" for each in self.failures)
        return BackupFailed(
            f"cannot back up job '{self.job}': {len(self.failures)} databases failed: {names}",
            hint="holdfast list shows why each of them did",
        )


@dataclass
class _Run:
    """One run under way, for the run history."""

    run_id: str
    started_at: datetime
    manifests: list[Manifest] = field(default_factory=list)
    failures: list[FailedDatabase] = field(default_factory=list)
    without: tuple[FailedStore, ...] = ()


def backup(context: BackupContext, choice: BackupChoice | None = None) -> RunReport:
    """Back up one job.

    Whatever goes wrong, the run history says what it was. Raises `RunInFlight` where another run
    owns the job (`SkippedTooOften` where that goes on), `RepositoryBusy`, `LeaseLost`, and what
    went wrong where the job has one database; where it has several the report holds the
    failures beside the good ones. A repository of several that fails has no backup, and the
    report says so; the others have theirs.
    """
    choice = choice or BackupChoice()
    run = _Run(run_id=context.ownership.new_run_id(), started_at=context.host.clock())
    with _recorded(context, run):
        timeout = context.job.rules.timeout
        deadline = run.started_at + timeout if timeout else None
        with held(context, deadline=deadline) as (everywhere, hold):
            events.reached("backup-locked")
            sources = Retries(context.job.rules.attempts).trying(
                context.source.databases, on=DatabaseUnreachable, what="listing the databases"
            )
            _sweep(everywhere, sources, choice)
            events.reached("backup-swept")
            _take_each(everywhere, sources, run, choice=choice, hold=hold)
            run.without = failed_stores(everywhere.repository)
    return RunReport(
        job=context.job.name,
        run_id=run.run_id,
        manifests=tuple(run.manifests),
        failures=tuple(run.failures),
        without=run.without,
    )


def _sweep(context: BackupContext, sources: Sequence[Source], choice: BackupChoice) -> None:
    """What dead runs left, but for what is to be gone on with."""
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
        except (Interrupted, LeaseLost):
            raise
        except HoldfastError as error:
            if len(sources) == 1:
                raise
            events.error("database_failed", database=source.database, error=error.message)
            run.failures.append(FailedDatabase(database=source.database, error=error))
        else:
            run.manifests.append(manifest)


def _name_id(run_id: str, database: str) -> str:
    """Two databases of a run may be begun in the same second."""
    return sha256(f"{run_id}/{database}".encode()).hexdigest()


def _alarm(context: BackupContext, error: HoldfastError) -> SkippedTooOften | None:
    """One skipped run is nothing; many in a row mean that there will be no backup."""
    runs = context.state.history.last(context.job.name, count=RUNS_SEEN)
    in_a_row = skipped_in_a_row(runs) + 1
    if in_a_row < context.job.rules.overlap_alarm:
        return None
    return SkippedTooOften(
        f"{error.message}; {in_a_row} runs in a row were skipped",
        hint="a run that never ends, or a schedule that leaves no time for it: compare `timeout` "
        "and `schedule`, and see who has it with holdfast status",
    )


def skipped_in_a_row(newest_first: list[RunRecord]) -> int:
    """How many runs, counted from the newest back, found another one under way."""
    for count, run in enumerate(newest_first):
        if run.outcome != "skipped":
            return count
    return len(newest_first)


@contextmanager
def _recorded(context: BackupContext, run: _Run) -> Iterator[None]:
    """Write how the run ended, however it ends, into the run history."""

    def record(outcome: str, error: BaseException | None = None) -> None:
        known = error if isinstance(error, HoldfastError) else None
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
            facts={
                "databases": str(len(run.manifests) + len(run.failures)),
                "failed": ", ".join(each.database for each in run.failures),
            }
            if run.failures or len(run.manifests) > 1
            else {},
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
    report = RunReport(
        job=context.job.name,
        run_id=run.run_id,
        manifests=(),
        failures=tuple(run.failures),
        without=run.without,
    )
    record("failed" if report.error else "ok", report.error)


@contextmanager
def held(
    context: BackupContext, *, deadline: datetime | None
) -> Iterator[tuple[BackupContext, Hold]]:
    """Own the job, and have all repositories of it behind one where it has several; one that
    lets nothing be removed is only added to.

    One that cannot be reached, or in which somebody else owns the job, has failed for this run;
    but where the job is owned in its own repository, that is the run in flight: `RunInFlight`.
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
        for member, mirror in zip(members, own.mirrors, strict=True):
            try:
                owned = mirror.guard.hold(name, deadline=deadline)
                member.hold = stack.enter_context(owned)
            except (RunInFlight, RepositoryBusy) as error:
                if member is members[0]:
                    raise
                together.fail(member, error)
            except Interrupted:
                raise
            except HoldfastError as error:
                together.fail(member, error)
        yield replace(context, repository=together), MirroredHold(together, members)


def failed_with(job: str, without: tuple[FailedStore, ...]) -> HoldfastError | None:
    """The error of a run whose backups are good, but not everywhere they were to be."""
    if not without:
        return None
    names = ", ".join(f"'{each.name}'" for each in without)
    first = without[0].error
    missing = " and ".join(f"holdfast copy {job} --to {each.name}" for each in without)
    return type(first)(
        f"cannot keep job '{job}' in repository {names}: {first.message}",
        hint=f"the backup is whole elsewhere: once that is mended, {missing} brings it",
    )


class MirroredHold:
    """Obeys `ports.run.Hold` for the leases in all repositories: each counts for its own."""

    def __init__(self, mirrored: Mirrored, members: Sequence[Member]) -> None:
        self._mirrored = mirrored
        self._members = members

    @property
    def lost(self) -> str:
        """Only where it is lost everywhere: a put finds out about one of them."""
        lost = [each.hold.lost for each in self._members if each.hold and not each.error]
        return lost[0] if lost and all(lost) else ""

    def prove(self) -> None:
        for member in self._members:
            if member.hold is not None and member.error is None:
                try:
                    member.hold.prove()
                except HoldfastError as error:
                    self._mirrored.fail(member, error)
