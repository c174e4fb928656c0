"""Remove the backups that retention no longer keeps."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast import retention
from holdfast.catalog.catalog import Catalog, Damaged
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
    dry_run: bool


def prune(repository: Repository, guard: Guard, job: JobSpec, *, dry_run: bool) -> PruneReport:
    """Carry out the plan of `job`'s retention; `dry_run` only makes it.

    Raises `RunInFlight` while a backup of the job is under way. A backup whose manifest is
    damaged is left for a person to judge.
    """
    with guard.hold(job.name, deadline=None):
        catalog = Catalog(repository)
        survey = catalog.survey(job.name)
        candidates = [
            Candidate(backup_id=each.backup_id, taken_at=each.snapshot_at)
            for each in survey.manifests
        ]
        verdicts = retention.plan(candidates, job.retention)
        dropped = {each.candidate.backup_id for each in verdicts if not each.keep}
        drop = [each for each in survey.manifests if each.backup_id in dropped]
        if not dry_run:
            # Oldest first: if we are killed half way, the newer ones are all still there.
            for manifest in reversed(drop):
                catalog.drop(manifest)
    return PruneReport(
        job=job.name,
        verdicts=tuple(verdicts),
        damaged=survey.damaged,
        freed_bytes=sum(manifest.stored_bytes for manifest in drop),
        dry_run=dry_run,
    )
