"""`holdfast drills`."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from holdfast.catalog.drill_records import Drills
from holdfast.cli.context import JsonOption, Session, SomeJob, print_document, session_of
from holdfast.cli.documents import Document, of_drill, of_failed_jobs
from holdfast.cli.tables import BAD, GOOD, Cell, Coloured, Table, key, number, time_of, words
from holdfast.model.drill import DrillRecord

COLUMNS = (
    key("BACKUP"),
    words("DATABASE", drop=3),
    words("DRILLED"),
    words("OUTCOME"),
    number("RESTORED IN", drop=1),
    words("AS OF", drop=4),
    words("HOST", drop=5),
    words("RECORD", drop=6),
)

EXAMPLES = """\
# When each backup of 'shop' was last brought back, and how long that took
holdfast drills shop

# For an auditor: every proof of every drill
holdfast drills --json | jq '.drills[] | {backup, outcome, rows}'
"""


def drills(context: typer.Context, job: SomeJob = None, *, as_json: JsonOption = False) -> None:
    """List the drills of JOB, or of all jobs, newest first, from the records beside the backups.

    A record stays at least as long as its backup, and the newest ones of each database longer.
    """
    from holdfast.wiring.reading import drills_of  # heavy, as in `Session`

    session = session_of(context)

    def read(name: str) -> Drills:
        return drills_of(session.settings, name, chosen=session.chosen_repository)

    # Records outlive the configuration of their job, and a drill host may not have it.
    if job is not None:
        only = read(job)
        session.require_known(job, holds_something=bool(only.records or only.damaged))
    found, errors = session.of_each_job(None, read) if job is None else ([only], {})
    if as_json:
        print_document("drills", _document(found) | of_failed_jobs(errors))
    else:
        _show(session, found)
        session.tell_failed(errors)
    if errors:
        raise typer.Exit(next(iter(errors.values())).exit_code)


def _newest_first(found: Sequence[Drills]) -> list[DrillRecord]:
    records = [each for drills in found for each in drills.records]
    return sorted(records, key=lambda each: each.began, reverse=True)


def _show(session: Session, found: Sequence[Drills]) -> None:
    records = _newest_first(found)
    if records:
        session.show(Table(COLUMNS, [_row(each) for each in records]))
    else:
        session.say("there was no drill yet; make one: holdfast drill JOB")
    for record in records:
        if record.problem:
            session.say(f"failed: {record.drill_id}: {record.problem}", BAD)
    for damaged in (each for drills in found for each in drills.damaged):
        session.say(f"damaged: {damaged.drill_id}: {damaged.problem}", BAD)


def _row(record: DrillRecord) -> tuple[Cell, ...]:
    outcome = Coloured(record.outcome.value, GOOD if record.passed else BAD)
    return (
        record.backup,
        record.database,
        time_of(record.ended),
        outcome,
        f"{record.seconds.restore:.1f} s" if record.passed else "",
        time_of(record.reached) if record.reached else "",
        record.host,
        record.drill_id,
    )


def _document(found: Sequence[Drills]) -> Document:
    return {
        "drills": [of_drill(each) for each in _newest_first(found)],
        "damaged": [
            {"drill": each.drill_id, "problem": each.problem}
            for drills in found
            for each in drills.damaged
        ],
    }
