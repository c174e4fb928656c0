"""`holdfast prune`."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import documents
from holdfast.cli.progress import Meter
from holdfast.cli.session import JsonOption, Session, SomeJob, print_document, session_of
from holdfast.cli.tables import size, table_of, time_of
from holdfast.operations.prune import PruneReport
from holdfast.operations.prune import prune as prune_job

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be dropped, and why.")]


def prune(
    context: typer.Context,
    job: SomeJob = None,
    *,
    dry_run: DryRun = False,
    as_json: JsonOption = False,
) -> None:
    """Drop the backups that the retention of JOB (or of every job) no longer keeps.

    The newest backup of a job always stays; a damaged one is left for you to judge.

    \b
    holdfast prune --dry-run
    holdfast prune shop
    """
    session = session_of(context)
    reports = []
    for name in session.jobs(job):
        plugs = session.plugs(name, Meter())
        reports.append(prune_job(plugs.repository, plugs.guard, plugs.job, dry_run=dry_run))
    if as_json:
        jobs = [documents.of_prune(report) for report in reports]
        print_document("prune", {"dry_run": dry_run, "jobs": jobs})
        return
    for report in reports:
        _show(session, report)


def _show(session: Session, report: PruneReport) -> None:
    dropped = "would drop" if report.dry_run else "dropped"
    rows = [
        (
            verdict.candidate.backup_id,
            time_of(verdict.candidate.taken_at),
            "kept" if verdict.keep else dropped,
            verdict.because,
        )
        for verdict in report.verdicts
    ]
    if rows:
        session.show(table_of(("BACKUP", "TAKEN", "VERDICT", "BECAUSE"), rows))
    for broken in report.damaged:
        session.say(f"damaged, left alone: {broken.backup_id}: {broken.problem}")
    for failure in report.forgotten:
        session.say(f"failed run, forgotten: {failure.backup_id}")
    freed = "would free" if report.dry_run else "freed"
    session.say(f"{report.job}: {freed} {size(report.freed_bytes)}")
