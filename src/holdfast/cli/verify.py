"""`holdfast verify`."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer

from holdfast.cli import completion
from holdfast.cli.context import (
    Database,
    Identity,
    JsonOption,
    Session,
    acting_session_of,
    duration_option,
    print_document,
)
from holdfast.cli.documents import Document, moment, of_damaged
from holdfast.cli.progress import Meter, watched
from holdfast.cli.tables import BAD, GOOD, WARN, Table, key, time_of, words
from holdfast.model.units import counted, size
from holdfast.operations.verify.backup import (
    BackupReader,
    VerifyReport,
    quick,
    verify as verify_backup,
)
from holdfast.operations.verify.scrub import (
    JobReport,
    JobRequest,
    RereadReport,
    reread,
    show,
    verify_job,
)
from holdfast.pipeline.encryption import Identities
from holdfast.wiring.gauges import gauges_of


class Depth(StrEnum):
    """How thoroughly to verify."""

    QUICK = "quick"
    FULL = "full"
    LEDGER = "ledger"


What = Annotated[
    str | None,
    typer.Argument(
        metavar="BACKUP_ID",
        autocompletion=completion.backups,
        help="JOB/20261120T020000Z-1a2b3c4d or JOB/latest. JOB: the newest backup of each of its"
        " databases. With --level ledger: all backups of JOB, or of all jobs.",
    ),
]
LevelOption = Annotated[
    Depth | None,
    typer.Option(
        help="quick: the manifest and one list of objects, no data. full: every byte. ledger: as"
        " many bytes as the budget allows, the least recently read ones first. Default:"
        " verify.level of JOB, or full."
    ),
]
BudgetOption = Annotated[
    timedelta | None,
    typer.Option(
        metavar="TIME",
        parser=duration_option,
        help="With JOB or --level ledger: begin nothing new after this time: 30m, 2h. Default:"
        " verify.budget of JOB, or 30m.",
    ),
]


EXAMPLES = """\
# Read every byte of the newest backup of 'shop'
holdfast verify shop/latest

# What the timer of 'shop' does: level and budget as configured in verify
holdfast verify shop

# Only the manifest and the sizes: one list, no data
holdfast verify shop/latest --level quick

# Read for half an hour what was not read for longest
holdfast verify shop --level ledger --budget 30m

# Open the encrypted parts too
holdfast verify shop/latest --identity /root/restore.key
"""


def verify(
    context: typer.Context,
    backup_id: What = None,
    *,
    level: LevelOption = None,
    budget: BudgetOption = None,
    database: Database = "",
    identity: Identity = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the stored parts of a backup with its manifest: sizes, fingerprints, rows, ranges.

    Every damaged part is named, and the exit code is then 31. Without an identity, only the stored
    form of encrypted parts is compared.
    """
    session = acting_session_of(context)
    identities = session.identities(identity)
    if backup_id is None and level is not Depth.LEDGER:
        raise typer.BadParameter("name a job, or a backup: JOB/latest")
    if backup_id is not None and "/" in backup_id and level is not Depth.LEDGER:
        depth = level or Depth.FULL
        report = _verified(session, backup_id, depth, database=database, identities=identities)
        _show(session, report, as_json=as_json)
        exit_code = report.exit_code
        bad = f"{len(report.bad)} of {counted(report.parts, 'part')} bad in {backup_id}"
        session.told.ended(backup_id.partition("/")[0], exit_code, error=bad)
    else:
        exit_code = _of_settings(
            session,
            backup_id,
            level,
            budget=budget,
            database=database,
            identities=identities,
            as_json=as_json,
        )
    if exit_code:
        raise typer.Exit(exit_code)


def _verified(
    session: Session,
    backup_id: str,
    level: Depth,
    *,
    database: str,
    identities: Identities | None,
) -> VerifyReport:
    job = backup_id.partition("/")[0]
    backup_id = session.named(backup_id, database)
    if level is Depth.QUICK:
        return quick(session.repository(job), backup_id, database=database)
    slots = session.reading_slots(job)
    meter = Meter()
    reader = _reader(session, job, meter, identities=identities)
    with watched(meter, f"verify {backup_id}"):
        return verify_backup(reader, backup_id, workers=slots, database=database)


def _of_settings(
    session: Session,
    job: str | None,
    level: Depth | None,
    *,
    budget: timedelta | None,
    database: str,
    identities: Identities | None,
    as_json: bool,
) -> int:
    """Verify JOB as its settings say where the call does not; without JOB, all jobs."""
    depth, within = _asked(session, job, level, budget=budget)
    if depth is Depth.LEDGER:
        return _reread(session, job, within, identities=identities, as_json=as_json)
    request = _request(session, job or "", depth, budget=within, database=database)
    found = _verified_job(session, request, identities=identities)
    _show_job(session, found, as_json=as_json)
    return found.exit_code


def _asked(
    session: Session, job: str | None, level: Depth | None, *, budget: timedelta | None
) -> tuple[Depth, timedelta]:
    """The level and the budget of the call, or else those of the job's settings."""
    from holdfast.wiring.reading import verify_settings  # heavy, as in `Session`

    settings = verify_settings(session.settings, job)
    return level or Depth(settings.level), budget or settings.budget


def _request(
    session: Session, job: str, level: Depth, *, budget: timedelta, database: str
) -> JobRequest:
    return JobRequest(
        job=job,
        level="quick" if level is Depth.QUICK else "full",
        budget=budget,
        workers=session.reading_slots(job),
        database=database,
    )


def _verified_job(
    session: Session, request: JobRequest, *, identities: Identities | None
) -> JobReport:
    meter = Meter()
    reader = _reader(session, request.job, meter, identities=identities)
    with watched(meter, f"verify {request.job}"):
        report = verify_job(reader, request)
    show(reader, gauges_of(session.settings, request.job), report)
    return report


def _reader(
    session: Session, job: str, meter: Meter, *, identities: Identities | None
) -> BackupReader:
    """A reader of the backups of `job` that also records when parts were read."""
    from holdfast.wiring.reading import reader_of  # heavy, as in `Session`

    return reader_of(
        session.settings,
        job,
        progress=meter,
        identities=identities,
        chosen=session.chosen_repository,
    )


def _show_job(session: Session, found: JobReport, *, as_json: bool) -> None:
    if as_json:
        print_document("verify-job", _of_job(found))
        return
    for report in found.reports:
        _show(session, report, as_json=False)
    for broken in found.damaged:
        session.say(f"damaged: {broken.backup_id}: {broken.problem}", BAD)
    if found.left:
        session.say(f"the budget was too short for: {', '.join(found.left)}", WARN)


def _show(session: Session, report: VerifyReport, *, as_json: bool) -> None:
    if as_json:
        print_document("verify", _of_verify(report))
    elif report.bad:
        rows = [(bad.name, bad.problem) for bad in report.bad]
        session.show(Table((key("PART"), words("PROBLEM")), rows))
        told = f"{len(report.bad)} of {counted(report.parts, 'part')} bad"
        session.say(f"{report.manifest.backup_id}: {told}", BAD)
    else:
        sizes = f"{size(report.stored_bytes)} stored, {size(report.plain_bytes)} plain"
        session.say(f"{report.manifest.backup_id}: {_all_good(report)} ({sizes})", GOOD)
        _tell_unopened(session, report.unopened)


def _all_good(report: VerifyReport) -> str:
    quick = report.level == "quick"
    if report.parts == 1:
        return f"its only part {'has the right size' if quick else 'matches the manifest'}"
    found = "have the right sizes" if quick else "match the manifest"
    return f"all {report.parts} parts {found}"


def _tell_unopened(session: Session, count: int) -> None:
    if count:
        verb = "is" if count == 1 else "are"
        session.say(
            f"{count} of them {verb} encrypted, and only their stored bytes were"
            " compared: --identity FILE opens them"
        )


def _reread(
    session: Session,
    job: str | None,
    budget: timedelta,
    *,
    identities: Identities | None,
    as_json: bool,
) -> int:
    """Read the least recently read parts of the jobs, which share the budget equally."""
    chosen = session.jobs(job)
    reports = []
    for name in chosen:
        meter = Meter()
        reader = _reader(session, name, meter, identities=identities)
        with watched(meter, f"verify {name}"):
            report = reread(
                reader,
                name,
                budget=budget / len(chosen),
                workers=session.reading_slots(name),
            )
        show(reader, gauges_of(session.settings, name), report)
        reports.append(report)
        session.told.ended(name, report.exit_code)
    exit_code = next((report.exit_code for report in reports if report.exit_code), 0)
    if as_json:
        jobs = [_of_reread(report) for report in reports]
        print_document("verify-ledger", {"exit_code": exit_code, "jobs": jobs})
        return exit_code
    for report in reports:
        for backup_id, bad in report.bad:
            session.say(f"bad: {backup_id or bad.name}: {bad.problem}", BAD)
        for broken in report.damaged:
            session.say(f"damaged: {broken.backup_id}: {broken.problem}", BAD)
        session.say(_told(report))
        _tell_unopened(session, report.unopened)
    return exit_code


def _told(report: RereadReport) -> str:
    oldest = time_of(report.oldest) if report.oldest else "never"
    left = f"{report.left} left, the oldest read {oldest}" if report.left else "none left"
    parts = counted(report.pieces, "part")
    if report.wal_files:
        parts += f" and {counted(report.wal_files, 'WAL file')}"
    return f"{report.job}: {parts} read ({size(report.plain_bytes)} plain), {left}"


def _of_verify(report: VerifyReport) -> Document:
    return {
        "backup": report.manifest.backup_id,
        "level": report.level,
        "verified": not report.bad,
        "parts": report.parts,
        "unopened": report.unopened,
        "plain_bytes": report.plain_bytes,
        "stored_bytes": report.stored_bytes,
        "bad": [{"part": each.name, "problem": each.problem} for each in report.bad],
        "exit_code": report.exit_code,
    }


def _of_job(found: JobReport) -> Document:
    return {
        "job": found.job,
        "level": found.level,
        "verified": not found.exit_code,
        "backups": [_of_verify(each) for each in found.reports],
        "left": list(found.left),
        "damaged": of_damaged(found.damaged),
        "exit_code": found.exit_code,
    }


def _of_reread(report: RereadReport) -> Document:
    return {
        "job": report.job,
        "verified": not report.exit_code,
        "parts": report.pieces,
        "wal_files": report.wal_files,
        "unopened": report.unopened,
        "plain_bytes": report.plain_bytes,
        "left": report.left,
        "oldest": moment(report.oldest) if report.oldest else None,
        "bad": [
            {"backup": backup_id or None, "part": each.name, "problem": each.problem}
            for backup_id, each in report.bad
        ],
        "damaged": of_damaged(report.damaged),
        "exit_code": report.exit_code,
    }
