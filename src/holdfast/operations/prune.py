"""Remove the backups that retention no longer keeps, and blobs and WAL that none of them needs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.catalog.catalog import Catalog, Damaged, Survey
from holdfast.catalog.drill_records import DrillRecords
from holdfast.catalog.host_statuses import HostStatuses
from holdfast.model import retention
from holdfast.model.chain import children_first
from holdfast.model.errors import (
    HoldfastError,
    LeaseLost,
    RepositoryFull,
    RepositoryReadOnly,
    RunInFlight,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.retention import Candidate, Verdict
from holdfast.operations.verify.proofs import proven_at
from holdfast.operations.wal.prune import PrunedWal, prune_wal
from holdfast.runtime import events
from holdfast.runtime.events import reached

if TYPE_CHECKING:
    from holdfast.catalog.manifest import Failure
    from holdfast.model.backup import Manifest
    from holdfast.operations.context import JobSpec
    from holdfast.ports.host_state import VerificationLog
    from holdfast.ports.repository import Repository, Stored
    from holdfast.ports.run import Clock, Guard, Hold


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneContext:
    """The dependencies of a prune: the job's backups, its lock, and its verification log."""

    job: JobSpec
    repository: Repository
    guard: Guard
    clock: Clock
    verification_log: VerificationLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A backup that was to be removed but that the store keeps."""

    backup_id: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """The verdicts on all backups of one job, and what was removed.

    `finished` are backups whose removal an earlier prune had begun and this one finished.
    """

    job: str
    verdicts: tuple[Verdict, ...]
    damaged: tuple[Damaged, ...]
    freed_bytes: int
    forgotten: tuple[Failure, ...]
    dry_run: bool
    refused: tuple[Refused, ...] = ()
    finished: tuple[str, ...] = ()
    wal: tuple[PrunedWal, ...] = ()

    @property
    def exit_code(self) -> int:
        is_refused = self.refused or any(each.refused for each in self.wal)
        return RepositoryReadOnly.exit_code if is_refused else 0


def prune(context: PruneContext, *, dry_run: bool) -> PruneReport:
    """Remove the backups that a job's retention drops; `dry_run` only plans, without a lock.

    A backup with a damaged manifest is left for a person to judge. While there is one, all blobs
    and WAL stay, too: nobody knows what it refers to. Raises `RunInFlight` while a run of the job
    is in progress, `LeaseLost`, and `RepositoryFull` if nothing can be removed to store a lease.
    """
    if dry_run:
        return _planned(context)
    made_room: list[tuple[Verdict, Manifest]] = []
    while True:
        try:
            with context.guard.hold(context.job.name, deadline=None) as hold:
                report = _carried_out(context, hold, _finished(context))
        except RepositoryFull:
            made_room += _make_room(context)
        else:
            return replace(
                report,
                verdicts=(*report.verdicts, *(verdict for verdict, _ in reversed(made_room))),
                freed_bytes=report.freed_bytes + _size_of([each for _, each in made_room]),
            )


def _make_room(context: PruneContext) -> list[tuple[Verdict, Manifest]]:
    """Drop the oldest backup to be removed if the repository has no space even for a lease.

    This is safe without a lease: no other host can store one either. Raises `RepositoryFull` if no
    backup is to be removed, and `RunInFlight` if another run already has a lease.
    """
    name = context.job.name
    if context.guard.owner(name) is not None:
        raise RunInFlight(
            f"cannot prune job '{name}': the job is running",
            hint=f"holdfast status {name} shows the run",
        )
    survey = Catalog(context.repository).survey(name)
    verdicts = _verdicts(context, survey)
    drop = _to_drop(survey, verdicts)
    if not drop:
        raise RepositoryFull(
            f"cannot prune job '{name}': its repository is full, and its retention keeps every"
            " backup",
            hint="keep fewer backups, or give the repository more space",
        )
    oldest = children_first(drop)[0]
    Catalog(context.repository).drop(oldest)
    context.verification_log.forget(oldest.backup_id)
    verdict = next(each for each in verdicts if each.candidate.backup_id == oldest.backup_id)
    return [(verdict, oldest)]


def _planned(context: PruneContext) -> PruneReport:
    survey = Catalog(context.repository).survey(context.job.name)
    verdicts = _verdicts(context, survey)
    drop = _to_drop(survey, verdicts)
    blobs = unreferenced(context, survey)
    gone = {manifest.backup_id for manifest in drop}
    wal = _pruned_wal(context, survey, gone, require=_nothing, dry_run=True)
    return PruneReport(
        job=context.job.name,
        verdicts=tuple(verdicts),
        damaged=survey.damaged,
        freed_bytes=_size_of(drop)
        + sum(blob.size_bytes for blob in blobs)
        + sum(each.freed_bytes for each in wal),
        forgotten=tuple(_outlived(survey)),
        dry_run=True,
        wal=tuple(wal),
    )


def _finished(context: PruneContext) -> list[str]:
    try:
        return Catalog(context.repository).finish_drops(context.job.name)
    except RepositoryReadOnly:
        # The store's lock on the objects may expire: the mark stays for the next prune.
        return []


def _carried_out(context: PruneContext, hold: Hold, finished: list[str]) -> PruneReport:
    catalog = Catalog(context.repository)
    survey = catalog.survey(context.job.name)
    verdicts = _verdicts(context, survey)
    dropped: list[Manifest] = []
    refused: list[Refused] = []
    needed: set[str] = set()
    # Oldest first: if we are killed in between, all newer backups are left. Within a chain the
    # newest first, so that each remaining backup has its parents.
    for manifest in children_first(_to_drop(survey, verdicts)):
        _require(hold, context.job.name)
        try:
            if manifest.backup_id in needed:
                raise RepositoryReadOnly(
                    "an incremental backup that the store refused to delete needs it"
                )
            catalog.drop(manifest)
        except RepositoryReadOnly as error:
            refused.append(Refused(backup_id=manifest.backup_id, problem=error.message))
            needed.add(manifest.parent)
        else:
            dropped.append(manifest)
            context.verification_log.forget(manifest.backup_id)
        reached("prune-backup-dropped")
    forgotten = _outlived(survey)
    for failure in forgotten:
        catalog.forget(failure)
    _require(hold, context.job.name)
    gone = {manifest.backup_id for manifest in dropped}
    _drop_outlived_records(context, survey, gone)
    freed_blobs = catalog.drop_blobs(unreferenced(context, survey, dropped=gone))
    wal = _pruned_wal(
        context, survey, gone, require=lambda: _require(hold, context.job.name), dry_run=False
    )
    return PruneReport(
        job=context.job.name,
        verdicts=tuple(verdicts),
        damaged=survey.damaged,
        freed_bytes=_size_of(dropped) + freed_blobs + sum(each.freed_bytes for each in wal),
        forgotten=tuple(forgotten),
        dry_run=False,
        refused=tuple(refused),
        finished=tuple(finished),
        wal=tuple(wal),
    )


def _drop_outlived_records(context: PruneContext, survey: Survey, gone: Collection[str]) -> None:
    """Remove the records of drills after their backups, and what hosts told before their last word.

    The store may refuse that.
    """
    known = {each.backup_id for each in survey.manifests}
    kept = known.union(each.backup_id for each in survey.damaged) - set(gone)
    try:
        DrillRecords(context.repository, context.job.name).drop_outlived(kept)
        HostStatuses(context.repository).drop_superseded(context.job.name)
    except RepositoryReadOnly as error:
        events.warning("drill_records_not_removed", problem=error.message)


def _pruned_wal(
    context: PruneContext,
    survey: Survey,
    gone: Collection[str],
    *,
    require: Callable[[], object],
    dry_run: bool,
) -> list[PrunedWal]:
    """Prune the WAL; skipped if a manifest is damaged, as the WAL that it needs is unknown."""
    if not survey.is_readable:
        return []
    kept = [each for each in survey.manifests if each.backup_id not in gone]
    return prune_wal(context.repository, context.job.name, kept, require=require, dry_run=dry_run)


def unreferenced(
    context: PruneContext, survey: Survey, *, dropped: Collection[str] = ()
) -> list[Stored]:
    """Blobs that no backup refers to now or has referred to during the job's grace time.

    Empty if a manifest is damaged.
    """
    if not survey.is_readable:
        return []
    kept = {
        blob.key
        for manifest in survey.manifests
        if manifest.backup_id not in dropped
        for blob in manifest.blobs
    }
    job, now = context.job, context.clock()
    blobs = Catalog(context.repository).unreferenced(job.name, kept=kept)
    since = context.verification_log.unreferenced(job.name, {each.key for each in blobs}, now=now)
    return [each for each in blobs if now - since[each.key] >= job.blob_grace]


def _verdicts(context: PruneContext, survey: Survey) -> list[Verdict]:
    damaged = context.verification_log.damaged(context.job.name)
    running = _running(context)
    drills = DrillRecords(context.repository, context.job.name).all()
    found: set[str] = set()
    candidates: list[Candidate] = []
    for manifest in survey.manifests:
        database = manifest.server.database
        # Retention needs only the newest proven backup of a database: skip the lookup for others.
        proven = None if database in found else proven_at(manifest, context.verification_log)
        if proven is not None:
            found.add(database)
        drill = drills.newest_passed(manifest.backup_id)
        candidates.append(
            Candidate(
                backup_id=manifest.backup_id,
                taken_at=manifest.snapshot_at,
                group=database,
                proven_at=proven,
                drilled_at=drill.began if drill else None,
                damaged=manifest.backup_id in damaged,
                in_flight=manifest.run_id == running,
                parent=manifest.parent,
            )
        )
    return retention.plan(candidates, context.job.retention, now=context.clock())


def _running(context: PruneContext) -> str:
    """The id of the run that owns the job: it may have finished some of several databases."""
    try:
        owner = context.guard.owner(context.job.name) or {}
    except HoldfastError:
        owner = {}
    return owner.get("run_id", "")


def _to_drop(survey: Survey, verdicts: list[Verdict]) -> list[Manifest]:
    dropped = {each.candidate.backup_id for each in verdicts if not each.keep}
    return [each for each in survey.manifests if each.backup_id in dropped]


def _size_of(manifests: list[Manifest]) -> int:
    return sum(manifest.stored_bytes for manifest in manifests)


def _require(hold: Hold, job: str) -> None:
    if hold.lost:
        raise LeaseLost(
            f"cannot continue pruning job '{job}': {hold.lost}",
            hint="the next prune continues where this one ended",
        )


def _outlived(survey: Survey) -> list[Failure]:
    """Failures that are older than the newest good backup of the same database."""
    newest = {each.server.database: each.finished_at for each in reversed(survey.manifests)}
    return [
        each
        for each in survey.failures
        if each.database in newest and newest[each.database] > each.failed_at
    ]


def _nothing() -> None:
    """Stands for the check of the lock in a dry run, which holds none."""
