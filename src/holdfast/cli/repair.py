"""`holdfast repair`."""

from __future__ import annotations

import typer

from holdfast.cli.context import DryRun, JsonOption, Session, SomeJob
from holdfast.cli.documents import Document
from holdfast.cli.each_job import EachJob
from holdfast.cli.tables import Table, key, number, words
from holdfast.model.units import counted, size
from holdfast.operations.repair import Fate, RepairReport, repair as repair_job

EXAMPLES = """\
# What would stay and what would be removed
holdfast repair --dry-run

# Clean up after one job
holdfast repair shop
"""


def repair(
    context: typer.Context,
    job: SomeJob = None,
    *,
    dry_run: DryRun = False,
    as_json: JsonOption = False,
) -> None:
    """Clean up what interrupted runs of JOB (or of every job) left behind.

    Parts that a later run can resume stay; the rest is removed. Good backups are never touched. A
    missing part cannot be brought back: the backup that lacks it is named, and the exit code is
    then 31.
    """
    each_job = EachJob(command="repair", run=_run, show=_show_repair, document=_document)
    each_job(context, job, dry_run=dry_run, as_json=as_json)


def _run(session: Session, job: str, dry_run: bool) -> RepairReport:  # noqa: FBT001 - as `EachJob` calls it
    from holdfast.wiring.jobs import repair_context

    needed = repair_context(session.settings, job, chosen=session.chosen_repository)
    return repair_job(needed, dry_run=dry_run)


def _show_repair(session: Session, report: RepairReport) -> None:
    rows = [
        (each.what, _fate(report, each.fate), size(each.size_bytes), each.because)
        for each in report.leftovers
    ]
    if rows:
        columns = (key("BACKUP"), words("FATE"), number("SIZE", drop=1), words("BECAUSE"))
        session.show(Table(columns, rows))
    freed = "would free" if report.dry_run else "freed"
    objects = counted(report.unfinished_puts, "unfinished object")
    puts = f", {objects}" if report.unfinished_puts else ""
    session.say(f"{report.job}: {freed} {size(report.freed_bytes)}{puts}")


def _fate(report: RepairReport, fate: Fate) -> str:
    return "would remove" if report.dry_run and fate is Fate.REMOVED else fate.value


def _document(report: RepairReport) -> Document:
    return {
        "job": report.job,
        "leftovers": [
            {
                "what": each.what,
                "fate": each.fate.value,
                "because": each.because,
                "objects": each.objects,
                "bytes": each.size_bytes,
            }
            for each in report.leftovers
        ],
        "unfinished_puts": report.unfinished_puts,
        "freed_bytes": report.freed_bytes,
        "exit_code": report.exit_code,
    }
