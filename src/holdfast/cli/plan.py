"""`holdfast plan`."""

from __future__ import annotations

from datetime import timedelta

import typer

from holdfast.cli.context import JobName, JsonOption, print_document, session_of
from holdfast.cli.options import ChunkSize
from holdfast.cli.render import documents
from holdfast.cli.render.terminal import encryption_line, size, span, table_of
from holdfast.operations.backup.plan import PlanReport
from holdfast.operations.backup.plan import plan as make_plan


def plan(
    context: typer.Context,
    job: JobName,
    *,
    chunk_size: ChunkSize = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a backup of JOB would do, and why, without doing it.

    \b
    holdfast plan shop
    holdfast plan shop --chunk-size 256MiB
    holdfast plan shop --json | jq '.tables[] | {table, method, reason}'
    """
    from holdfast.wiring.jobs import plan_context

    session = session_of(context)
    chosen = session.chosen_repository
    reports = make_plan(plan_context(session.settings, job, chunk_bytes=chunk_size, chosen=chosen))
    if as_json:
        print_document("plan", documents.of_plans(reports))
        return
    for report in reports:
        rows = [
            (
                str(table.relation),
                size(table.estimated_bytes),
                _time(report, table.estimated_bytes),
                table.method,
                table.reason,
            )
            for table in report.source.tables
        ]
        session.show(table_of(("TABLE", "SIZE", "TIME", "METHOD", "REASON"), rows))
        for line in _summary(report):
            session.say(line)


def _time(report: PlanReport, size_bytes: int) -> str:
    return span(timedelta(seconds=report.seconds_for(size_bytes)))


def _summary(report: PlanReport) -> list[str]:
    server, budget = report.source.server, report.budget
    allowed = ", ".join(f"{name} {count}" for name, count in budget.allowed.items())
    total = report.source.estimated_bytes
    rate = size(round(report.bytes_per_second))
    speed = "as the last backup went" if report.is_measured else "a guess until there is a backup"
    return [
        f"database     {server.database} on {server.kind} {server.version}",
        f"consistency  {report.source.consistency}",
        f"compression  {report.job.form.codec} level {report.job.form.level}",
        f"encryption   {encryption_line(report.job.form.recipients)}",
        f"processes    {budget.slots}, decided by {budget.decided_by} (allowed: {allowed})",
        f"data         about {size(total)} before compression",
        f"time         about {_time(report, total)} at {rate}/s, {speed}",
        f"room         {size(report.free_bytes)} free in the repository",
        *(f"note         {note}" for note in (*report.source.notes, *report.job.notes)),
    ]
