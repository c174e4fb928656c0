"""`holdfast plan` and `holdfast backup`."""

from __future__ import annotations

import typer

from holdfast.cli import documents, logs
from holdfast.cli.progress import Meter, metered
from holdfast.cli.session import JobName, JsonOption, print_document, session_of
from holdfast.cli.tables import BACKUP_COLUMNS, backup_row, size, table_of
from holdfast.operations.backup import backup as take_backup
from holdfast.operations.plan import PlanReport
from holdfast.operations.plan import plan as make_plan


def plan(context: typer.Context, job: JobName, *, as_json: JsonOption = False) -> None:
    """Say what a backup of JOB would do, and why, without doing it.

    \b
    holdfast plan shop
    holdfast plan shop --json | jq '.tables[] | {table, method, reason}'
    """
    session = session_of(context)
    report = make_plan(session.plugs(job, Meter()))
    if as_json:
        print_document("plan", documents.of_plan(report))
        return
    rows = [
        (str(table.relation), size(table.estimated_bytes), table.method, table.reason)
        for table in report.source.tables
    ]
    session.show(table_of(("TABLE", "SIZE", "METHOD", "REASON"), rows))
    for line in _summary(report):
        session.say(line)


def _summary(report: PlanReport) -> list[str]:
    server, budget = report.source.server, report.budget
    allowed = ", ".join(f"{name} {count}" for name, count in budget.allowed.items())
    return [
        f"database     {server.database} on {server.kind} {server.version}",
        f"consistency  {report.source.consistency}",
        f"compression  {report.job.codec} level {report.job.level}",
        f"processes    {budget.slots}, decided by {budget.decided_by} (allowed: {allowed})",
        f"data         about {size(report.source.estimated_bytes)} before compression",
        f"room         {size(report.free_bytes)} free in the repository",
        *(f"note         {note}" for note in report.source.notes),
    ]


def backup(context: typer.Context, job: JobName, *, as_json: JsonOption = False) -> None:
    """Back up JOB now.

    The backup exists only when every part of it is stored; a run that fails leaves nothing.
    Where another run of JOB is under way this one is skipped, with an exit code of its own (40).

    \b
    holdfast backup shop
    sudo -u holdfast holdfast backup shop --json
    systemctl start holdfast-backup-shop.service
    """
    session = session_of(context)
    with metered(f"backup {job}") as meter:
        plugs = session.plugs(job, meter)
        logs.info("backup_begun", job=job)
        manifest = take_backup(plugs)
    logs.info(
        "backup_done",
        job=job,
        backup=manifest.backup_id,
        consistency=manifest.consistency.value,
        seconds=manifest.seconds,
        plain_bytes=manifest.plain_bytes,
        stored_bytes=manifest.stored_bytes,
        peak_memory_bytes=manifest.peak_memory_bytes,
    )
    if as_json:
        print_document("backup", documents.of_backup(manifest))
    else:
        session.show(table_of(BACKUP_COLUMNS, [backup_row(manifest)]))
