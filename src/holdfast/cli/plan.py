"""`holdfast plan`."""

from __future__ import annotations

from datetime import timedelta

import typer

from holdfast.cli.context import ChunkSize, JobName, JsonOption, print_document, session_of
from holdfast.cli.documents import Document, of_relation, of_server
from holdfast.cli.tables import Table, encryption_line, number, words
from holdfast.model.units import size, span
from holdfast.operations.backup.plan import PlanReport, plan as make_plan

COLUMNS = (
    words("TABLE"),
    number("SIZE"),
    number("TIME", drop=2),
    words("METHOD", drop=1),
    words("REASON"),
)


EXAMPLES = """\
# What a backup of 'shop' reads, how, and how long it takes
holdfast plan shop

# The same with tables split into smaller ranges
holdfast plan shop --chunk-size 256MiB

# Only the tables and how each one is read
holdfast plan shop --json | jq '.tables[] | {table, method, reason}'
"""


def plan(
    context: typer.Context,
    job: JobName,
    *,
    chunk_size: ChunkSize = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a backup of JOB would do, and why, without doing it."""
    from holdfast.wiring.jobs import plan_context

    session = session_of(context)
    chosen = session.chosen_repository
    reports = make_plan(plan_context(session.settings, job, chunk_bytes=chunk_size, chosen=chosen))
    if as_json:
        print_document("plan", _document(reports))
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
        session.show(Table(COLUMNS, rows))
        session.tell(_summary(report))


def _time(report: PlanReport, size_bytes: int) -> str:
    return span(timedelta(seconds=report.seconds_for(size_bytes)))


def _summary(report: PlanReport) -> list[tuple[str, str]]:
    server, budget = report.source.server, report.budget
    allowed = ", ".join(f"{name} {count}" for name, count in budget.allowed.items())
    total = report.source.estimated_bytes
    rate = size(round(report.bytes_per_second))
    speed = "as in the last backup" if report.is_measured else "an estimate until there is a backup"
    return [
        ("database", f"{server.database} on {server.kind} {server.version}"),
        ("consistency", str(report.source.consistency)),
        ("compression", f"{report.job.form.codec} level {report.job.form.level}"),
        ("encryption", encryption_line(report.job.form.recipients)),
        ("processes", f"{budget.slots}, decided by {budget.decided_by} (allowed: {allowed})"),
        ("data", f"about {size(total)} before compression"),
        ("time", f"about {_time(report, total)} at {rate}/s, {speed}"),
        ("space", f"{size(report.free_bytes)} free in the repository"),
        *(("note", note) for note in (*report.source.notes, *report.job.notes)),
    ]


def _document(reports: list[PlanReport]) -> Document:
    """One plan, or a list of them for a job with several databases."""
    if len(reports) == 1:
        return _of_plan(reports[0])
    return {"databases": [_of_plan(report) for report in reports]}


def _of_plan(report: PlanReport) -> Document:
    source = report.source
    return {
        "job": report.job.name,
        "server": of_server(source.server),
        "consistency": source.consistency.value,
        "compression": {"codec": report.job.form.codec.value, "level": report.job.form.level},
        "encryption": report.job.form.encryption,
        "recipients": list(report.job.form.recipients),
        "workers": report.budget.slots,
        "budget": {"decided_by": report.budget.decided_by, "allowed": report.budget.allowed},
        "estimated_bytes": source.estimated_bytes,
        "estimated_seconds": round(report.seconds_for(source.estimated_bytes), 1),
        "bytes_per_second": round(report.bytes_per_second),
        "is_measured": report.is_measured,
        "free_bytes": report.free_bytes,
        "tables": [
            {
                **of_relation(table.relation),
                "estimated_bytes": table.estimated_bytes,
                "estimated_seconds": round(report.seconds_for(table.estimated_bytes), 1),
                "estimated_rows": table.estimated_rows,
                "method": table.method,
                "reason": table.reason,
            }
            for table in source.tables
        ],
        "notes": [*source.notes, *report.job.notes],
    }
