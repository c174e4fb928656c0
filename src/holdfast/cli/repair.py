"""`holdfast repair`."""

from __future__ import annotations

import typer

from holdfast.cli.context import (
    DryRun,
    JsonOption,
    Session,
    SomeJob,
    acting_session_of,
    end_with,
    print_document,
)
from holdfast.cli.documents import Document, of_failed_jobs
from holdfast.cli.tables import Table, key, number, words
from holdfast.model.units import counted, size
from holdfast.operations.repair import Fate, RepairReport, repair as repair_job


def repair(
    context: typer.Context,
    job: SomeJob = None,
    *,
    dry_run: DryRun = False,
    as_json: JsonOption = False,
) -> None:
    """Sort what broken runs of JOB (or of every job) left: what can be resumed, what goes.

    Good backups are never touched. What a backup lacks cannot be brought back: it is told, and
    the exit code is then 31.

    \b
    holdfast repair --dry-run
    holdfast repair shop
    """
    from holdfast.wiring.jobs import repair_context

    session = acting_session_of(context)
    reports, errors = session.of_each_job(
        job,
        lambda name: repair_job(
            repair_context(session.settings, name, chosen=session.chosen_repository),
            dry_run=dry_run,
        ),
    )
    if as_json:
        jobs = [_document(report) for report in reports]
        content = {"dry_run": dry_run, "jobs": jobs} | of_failed_jobs(errors)
        print_document("repair", content)
    else:
        for report in reports:
            _show_repair(session, report)
        session.tell_failed(errors)
    end_with([report.exit_code for report in reports], errors)


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
