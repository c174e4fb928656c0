"""Remove the backups that retention no longer keeps, and what nothing refers to any more."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from holdfast import retention
from holdfast.catalog.catalog import Catalog, Damaged, Survey
from holdfast.catalog.failure import Failure
from holdfast.operations.plugs import JobSpec
from holdfast.ports import Guard, Repository
from holdfast.retention import Candidate, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """Verdicts on all backups of one job, and what was done about them."""

    job: str
    verdicts: tuple[Verdict, ...]
    damaged: tuple[Damaged, ...]
    freed_bytes: int
    forgotten: tuple[Failure, ...]
    dry_run: bool


def prune(repository: Repository, guard: Guard, job: JobSpec, *, dry_run: bool) -> PruneReport:
    """Carry out the plan of `job`'s retention; `dry_run` only makes it.

    Raises `RunInFlight` while a backup of the job is under way. A backup whose manifest is
    damaged is left for a person to judge, and so are all blobs as long as there is one: what it
    refers to is not known.
    """
    with guard.hold(job.name, deadline=None):
        catalog = Catalog(repository)
        survey = catalog.survey(job.name)
        candidates = [
            Candidate(
                backup_id=each.backup_id, taken_at=each.snapshot_at, group=each.server.database
            )
            for each in survey.manifests
        ]
        verdicts = retention.plan(candidates, job.retention)
        dropped = {each.candidate.backup_id for each in verdicts if not each.keep}
        forgotten = _outlived(survey)
        freed_blobs = 0
        drop = [each for each in survey.manifests if each.backup_id in dropped]
        if not dry_run:
            # Oldest first: if we are killed half way, the newer ones are all still there.
            for manifest in reversed(drop):
                catalog.drop(manifest)
            for failure in forgotten:
                catalog.forget(failure)
            freed_blobs = _drop_blobs(catalog, job.name, survey, dropped)
    return PruneReport(
        job=job.name,
        verdicts=tuple(verdicts),
        damaged=survey.damaged,
        freed_bytes=sum(manifest.stored_bytes for manifest in drop) + freed_blobs,
        forgotten=tuple(forgotten),
        dry_run=dry_run,
    )


def _outlived(survey: Survey) -> list[Failure]:
    """Failures that a good backup of the same database came after."""
    newest = {each.server.database: each.finished_at for each in reversed(survey.manifests)}
    return [
        each
        for each in survey.failures
        if each.database in newest and newest[each.database] > each.failed_at
    ]


def _drop_blobs(catalog: Catalog, job: str, survey: Survey, dropped: Collection[str]) -> int:
    """Blobs that no backup refers to; the bytes freed."""
    if survey.damaged:
        return 0
    kept = {
        blob.key
        for manifest in survey.manifests
        if manifest.backup_id not in dropped
        for blob in manifest.blobs
    }
    return catalog.drop_blobs(job, keep=kept)
