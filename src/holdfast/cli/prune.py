"""`holdfast prune`."""

from __future__ import annotations

import typer

from holdfast.cli.context import DryRun, JsonOption, Session, SomeJob
from holdfast.cli.documents import Document, moment, of_damaged
from holdfast.cli.each_job import EachJob
from holdfast.cli.tables import BAD, WARN, Cell, Coloured, Table, key, time_of, words
from holdfast.model.units import counted, size
from holdfast.operations.prune import PruneReport, prune as prune_job
from holdfast.operations.wal.prune import PrunedWal

EXAMPLES = """\
# What would be dropped, and why
holdfast prune --dry-run

# Drop the old backups of one job
holdfast prune shop
"""


def prune(
    context: typer.Context,
    job: SomeJob = None,
    *,
    dry_run: DryRun = False,
    as_json: JsonOption = False,
) -> None:
    """Drop the backups that the retention of JOB (or of every job) no longer keeps.

    The newest backup of a job always stays, and so does the newest verified one. Damaged backups
    are never dropped: you decide about them. If the store refuses to delete a backup, the exit code
    is 52.
    """
    each_job = EachJob(command="prune", run=_run, show=_show_prune, document=_document)
    each_job(context, job, dry_run=dry_run, as_json=as_json)


def _run(session: Session, job: str, dry_run: bool) -> PruneReport:  # noqa: FBT001 - as `EachJob` calls it
    from holdfast.wiring.jobs import prune_context

    needed = prune_context(session.settings, job, chosen=session.chosen_repository)
    return prune_job(needed, dry_run=dry_run)


def _show_prune(session: Session, report: PruneReport) -> None:
    refused = {each.backup_id for each in report.refused}

    def said(backup_id: str, *, keep: bool) -> Cell:
        if backup_id in refused:
            return Coloured("refused", BAD)
        return "kept" if keep else Coloured("would drop" if report.dry_run else "dropped", WARN)

    rows = [
        (
            verdict.candidate.backup_id,
            time_of(verdict.candidate.taken_at),
            said(verdict.candidate.backup_id, keep=verdict.keep),
            verdict.because,
        )
        for verdict in report.verdicts
    ]
    if rows:
        columns = (key("BACKUP"), words("TAKEN", drop=1), words("VERDICT"), words("BECAUSE"))
        session.show(Table(columns, rows))
    for broken in report.damaged:
        session.say(f"damaged, not removed: {broken.backup_id}: {broken.problem}", BAD)
    for held in report.refused:
        session.say(f"refused by the store: {held.backup_id}: {held.problem}", BAD)
    for backup_id in report.finished:
        session.say(f"finished an interrupted prune: {backup_id}")
    for failure in report.forgotten:
        session.say(f"failed run, record removed: {failure.backup_id}")
    _show_wal(session, report)
    freed = "would free" if report.dry_run else "freed"
    session.say(f"{report.job}: {freed} {size(report.freed_bytes)}")


def _show_wal(session: Session, report: PruneReport) -> None:
    for wal in report.wal:
        gone = "would drop" if report.dry_run else "dropped"
        session.say(
            f"WAL of cluster {wal.cluster}: {gone} {counted(wal.files, 'file')} older than"
            f" {wal.first_kept}, as {wal.because}"
        )
        if wal.refused:
            session.say(f"refused by the store: {counted(wal.refused, 'file')} of the WAL", BAD)
        if wal.unproven:
            files = counted(wal.unproven, "file")
            session.say(f"not removed: {files} of the WAL with damaged records", WARN)


def _document(report: PruneReport) -> Document:
    return {
        "job": report.job,
        "verdicts": [
            {
                "backup": verdict.candidate.backup_id,
                "taken_at": moment(verdict.candidate.taken_at),
                "keep": verdict.keep,
                "because": verdict.because,
            }
            for verdict in report.verdicts
        ],
        "damaged": of_damaged(report.damaged),
        "forgotten": [each.backup_id for each in report.forgotten],
        "refused": [{"backup": each.backup_id, "problem": each.problem} for each in report.refused],
        "finished": list(report.finished),
        "wal": [_of_pruned(each) for each in report.wal],
        "freed_bytes": report.freed_bytes,
    }


def _of_pruned(pruned: PrunedWal) -> Document:
    return {
        "cluster": pruned.cluster,
        "first_kept": pruned.first_kept,
        "because": pruned.because,
        "files": pruned.files,
        "refused": pruned.refused,
        "unproven": pruned.unproven,
        "freed_bytes": pruned.freed_bytes,
    }
