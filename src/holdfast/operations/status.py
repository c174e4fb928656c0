"""How the jobs stand: the last good backup, the last run, and who is running now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from holdfast.catalog.catalog import Catalog
from holdfast.model.backup import Manifest
from holdfast.model.errors import HoldfastError, Interrupted
from holdfast.model.wal_archive import Archiver
from holdfast.operations.context import Context
from holdfast.ports.host_state import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """One job at a glance."""

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
    """How the server archives its WAL, where that could be asked."""
    archiver_unknown: str = ""
    """Why it could not."""

    def problem(self, max_age: timedelta | None) -> str:
        """Why somebody has to look at this job; empty where all is well."""
        if self.finished_run and self.finished_run.outcome == "failed":
            return "the last run failed"
        if self.damaged:
            return f"{self.damaged} of its backups cannot be read"
        if self.archiver is not None and self.archiver.problem:
            return self.archiver.problem
        if max_age is not None and self.age is None:
            return "it has no backup"
        if max_age is not None and self.age is not None and self.age > max_age:
            return "its newest backup is older than --max-age allows"
        return ""


def status(context: Context) -> JobStatus:
    """Read the repository, the ledger and the lock of one job, and ask the server of a cluster how
    its WAL is archived; changes nothing."""
    survey = Catalog(context.repository).survey(context.job.name)
    newest = survey.manifests[0] if survey.manifests else None
    runs = context.ledger.last(context.job.name, count=50)
    archiver, unknown = _archiver(context)
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
    )


def _archiver(context: Context) -> tuple[Archiver | None, str]:
    """A server that is down is for `check` to tell: what is kept is as good as before."""
    try:
        return context.source.archiver(), ""
    except Interrupted:
        raise
    except HoldfastError as error:
        return None, error.message


def skipped_in_a_row(newest_first: list[RunRecord]) -> int:
    """How many runs, counted from the newest back, found another one under way."""
    for count, run in enumerate(newest_first):
        if run.outcome != "skipped":
            return count
    return len(newest_first)
