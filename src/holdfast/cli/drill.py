"""`holdfast drill`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import completion
from holdfast.cli.context import (
    Identity,
    JobName,
    JsonOption,
    Session,
    acting_session_of,
    duration_option,
    print_document,
)
from holdfast.cli.documents import Document, of_drill
from holdfast.cli.progress import Meter, watched
from holdfast.cli.tables import BAD, GOOD, WARN, Cell, Coloured, Table, key, time_of, words
from holdfast.cli.telling import Outcome as Ended
from holdfast.model.drill import Check, DrillRecord, Outcome, ProofRow
from holdfast.model.recovery import moment_of
from holdfast.model.units import counted, size
from holdfast.operations.drill.database import Drilled, DrillRequest
from holdfast.operations.drill.job import DrillReport, drill as drill_job
from holdfast.runtime.isolation import give_way

COLOURS = {Outcome.PASSED: GOOD, Outcome.FAILED: BAD, Outcome.SKIPPED: WARN}
ROWS_OF = "rows of "
ROWS = (words("PROOF"), key("OUTCOME"), words("EXPECTED", drop=2), words("FOUND", drop=1))

Backup = Annotated[
    str,
    typer.Option(
        "--backup",
        metavar="BACKUP_ID",
        autocompletion=completion.backups,
        help="The backup to restore. Default: the newest one of each database, those first that"
        " were not drilled for longest.",
    ),
]
OneDatabase = Annotated[
    str, typer.Option("--database", metavar="NAME", help="Only this database of JOB.")
]
TargetTime = Annotated[
    str,
    typer.Option(
        "--target-time",
        metavar="TIME",
        help="Restore to this time, with its offset. A backup of rows: the newest one before it.",
    ),
]
TargetName = Annotated[
    str, typer.Option("--target", metavar="latest", help="As far as backups and WAL reach.")
]
Checks = Annotated[
    list[str] | None,
    typer.Option(
        "--check",
        metavar="SQL",
        help="Also ask this SELECT; NULL, false, 0, an empty text and no row fail the drill. May be"
        " repeated.",
    ),
]
Budget = Annotated[
    timedelta | None,
    typer.Option(
        metavar="TIME", parser=duration_option, help="How long all of it may take: 30m, 4h."
    ),
]
Keep = Annotated[
    bool, typer.Option("--keep", help="Leave the server running afterwards, and its folder.")
]

EXAMPLES = """\
# Restore the newest backup of 'shop' into a new server, and prove it
holdfast drill shop

# The data as of a time, with a question of your own
holdfast drill shop --target-time '2026-11-21 18:00Z' --check 'SELECT count(*) > 1000 FROM orders'

# Look around in what a backup holds
holdfast drill shop --backup shop/latest --keep
"""


def drill(
    context: typer.Context,
    job: JobName,
    *,
    backup: Backup = "",
    database: OneDatabase = "",
    target_time: TargetTime = "",
    target: TargetName = "",
    check: Checks = None,
    budget: Budget = None,
    keep: Keep = False,
    identity: Identity = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup into a throw-away server, prove what it holds, and keep a record of that.

    The server has no network, no archive and no jobs, and needs only the repository: the drill may
    run on another host than the database. Fingerprints, row counts, checksums, the server's own
    checks and those of the job (drill.checks) are compared. Whatever happens, the server is removed
    afterwards. The exit code is 37 if a drill fails.
    """
    session = acting_session_of(context)
    request = _request(
        session,
        job,
        backup=_full_id(job, backup),
        not_after=_time(target_time, target),
        checks=check or [],
        budget=budget,
    )
    report = _drilled(
        session, job, replace(request, database=database, keep=keep), identity=identity
    )
    session.told.outcomes.append(_ended(report))
    session.told.drills += [each.record for each in report.drilled]
    if as_json:
        print_document("drill-report", _document(report))
    else:
        _show(session, report)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _full_id(job: str, backup: str) -> str:
    """The id of a backup of JOB, also if only its name was given."""
    if not backup or "/" not in backup:
        return f"{job}/{backup}" if backup else ""
    if backup.partition("/")[0] != job:
        raise typer.BadParameter(f"'{backup}' is no backup of '{job}'", param_hint="--backup")
    return backup


def _time(target_time: str, target: str) -> datetime | None:
    if target not in ("", "latest"):
        raise typer.BadParameter(
            "latest is the only one; --target-time names a time", param_hint="--target"
        )
    if target and target_time:
        raise typer.BadParameter("give it or --target-time, not both", param_hint="--target")
    try:
        return moment_of(target_time) if target_time else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--target-time") from error


def _request(
    session: Session,
    job: str,
    *,
    backup: str,
    not_after: datetime | None,
    checks: list[str],
    budget: timedelta | None,
) -> DrillRequest:
    from holdfast.wiring.drill import drill_settings  # heavy, as in `Session`

    settings = drill_settings(session.settings, job)
    return DrillRequest(
        backup_id=backup,
        not_after=not_after,
        checks=(*(each.check for each in settings.checks), *(Check(sql=sql) for sql in checks)),
        goals=settings.goals,
        budget=budget or settings.budget,
    )


def _drilled(
    session: Session, job: str, request: DrillRequest, *, identity: Path | None
) -> DrillReport:
    from holdfast.wiring.drill import drill_context
    from holdfast.wiring.reading import reader_of

    meter, chosen = Meter(), session.chosen_repository
    identities = session.identities(identity)
    reader = reader_of(session.settings, job, progress=meter, identities=identities, chosen=chosen)
    context = drill_context(
        session.settings, job, reader, chosen=chosen, hidden=[identity] if identity else []
    )
    give_way()
    with watched(meter, f"drill {job}"):
        return drill_job(context, request, begun=session.told.begun)


def _ended(report: DrillReport) -> Ended:
    """The outcome for receivers of notifications."""
    records = [each.record for each in report.drilled]
    problems = [each.told_problem for each in records if not each.passed]
    left = f"the budget was too short for: {', '.join(report.left)}"
    return Ended(
        job=report.job,
        exit_code=report.exit_code,
        error="; ".join(problems),
        backups=tuple(each.backup for each in records),
        warnings=(
            *((left,) if report.left else ()),
            *(missed for each in report.drilled for missed in each.missed),
        ),
    )


def _show(session: Session, report: DrillReport) -> None:
    for each in report.drilled:
        _show_drill(session, each)
    if report.left:
        session.say(f"the budget was too short for: {', '.join(report.left)}", WARN)


def _show_drill(session: Session, drilled: Drilled) -> None:
    record = drilled.record
    for finding in record.findings:
        session.say(f"{finding.subject}: {finding.problem}", BAD if finding.blocks else WARN)
        if finding.hint:
            session.say(f"  hint: {finding.hint}")
    rows = [_row(each) for each in _shown(record)]
    if rows:
        session.show(Table(ROWS, rows))
    session.say(summary(record), GOOD if record.passed else BAD)
    if record.hint and not any(each.blocks for each in record.findings):
        session.say(f"  hint: {record.hint}")
    session.say(f"record: {record.drill_id}")
    for missed in drilled.missed:
        session.say(missed, WARN)
    if drilled.kept:
        session.say(f"kept: {drilled.kept}", WARN)


def _shown(record: DrillRecord) -> list[ProofRow]:
    """All rows, but those of good tables as one."""
    good = [each for each in record.rows if each.name.startswith(ROWS_OF) and not each.is_bad]
    shown = [each for each in record.rows if each not in good]
    if len(good) == 1:
        return [*good, *shown]
    if good:
        name = f"{ROWS_OF}{counted(len(good), 'table')}"
        shown.insert(0, ProofRow(name=name, outcome=Outcome.PASSED, found="equal"))
    return shown


def _row(row: ProofRow) -> tuple[Cell, ...]:
    outcome = Coloured(row.outcome.value, COLOURS[row.outcome])
    return row.name, outcome, row.expected, row.found or row.detail


def summary(record: DrillRecord) -> str:
    """The result of a drill on one line."""
    if not record.passed:
        return f"drill of {record.backup} failed: {record.problem}"
    seconds = record.seconds
    steps = {
        "fetch": seconds.fetch,
        "load": seconds.load,
        "indexes": seconds.indexes,
        "recovery": seconds.recovery,
    }
    split = ", ".join(f"{name} {took:.1f}" for name, took in steps.items() if took)
    reached = f", as of {time_of(record.reached)}" if record.reached else ""
    return (
        f"drill of {record.backup} passed: {size(record.plain_bytes)} restored in"
        f" {seconds.restore:.1f} s ({split}){reached}"
    )


def _document(report: DrillReport) -> Document:
    return {
        "job": report.job,
        "drills": [
            {**of_drill(each.record), "kept": each.kept or None, "missed": list(each.missed)}
            for each in report.drilled
        ],
        "left": list(report.left),
        "removed_leftovers": report.swept,
        "exit_code": report.exit_code,
    }
