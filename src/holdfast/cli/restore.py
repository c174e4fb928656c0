"""`holdfast restore`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.context import (
    BackupId,
    Database,
    Identity,
    JsonOption,
    Session,
    acting_session_of,
    grouped,
    print_document,
)
from holdfast.cli.documents import Document, of_relation
from holdfast.cli.point_in_time import Asked, PointInTime, Recovered, recoverable
from holdfast.cli.progress import Meter, watched
from holdfast.cli.tables import BAD, GOOD, WARN, Cell, Coloured, Table, number, words
from holdfast.model.backup import Manifest
from holdfast.model.errors import HoldfastError
from holdfast.model.units import counted, size, span
from holdfast.operations.restore.backup import (
    RestoreReport,
    Step,
    planned_steps,
    restore as restore_backup,
)
from holdfast.ports.target import RestoreOptions, Target
from holdfast.runtime import events, streams
from holdfast.runtime.clock import now

# A function definition may be long; the script holds the full statement.
STATEMENT_SHOWN = 160

To = Annotated[
    str,
    typer.Option(
        "--to", metavar="URL", help="The target: the URL of a database, or file:///DIRECTORY."
    ),
]
ListOnly = Annotated[
    bool, typer.Option("--list", help="Only show what would be restored, in order.")
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        readable=False,
        help="The file with the password for --to, so that no process list shows it.",
    ),
]
Tables = Annotated[
    list[str] | None,
    typer.Option(
        "--table", metavar="SCHEMA.NAME", help="Restore only this table. May be repeated."
    ),
]
Schemas = Annotated[
    list[str] | None,
    typer.Option(
        "--schema", metavar="NAME", help="Restore only the tables of this schema. May be repeated."
    ),
]
DataOnly = Annotated[
    bool, typer.Option("--data-only", help="Restore only rows, into existing tables.")
]
NoTriggers = Annotated[
    bool,
    typer.Option(
        "--disable-triggers", help="Fire no trigger or foreign key for rows of existing tables."
    ),
]
NoOwner = Annotated[
    bool, typer.Option("--no-owner", help="Make the login of the target the owner of all objects.")
]
NoPrivileges = Annotated[
    bool, typer.Option("--no-privileges", help="Do not restore privileges (GRANT).")
]
NoTablespaces = Annotated[
    bool,
    typer.Option(
        "--no-tablespaces", help="Use the target's default tablespace for everything (PostgreSQL)."
    ),
]
KeepGoing = Annotated[
    bool,
    typer.Option(
        "--keep-going",
        help="Restore everything else if an object fails. Exit code 36 then; the failed objects are"
        " listed, and a script keeps their statements.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what the target already contains.")
]
Globals = Annotated[
    bool, typer.Option("--globals", help="Also restore roles or accounts, and their grants.")
]


def restore_options(
    *,
    table: Tables = None,
    schema: Schemas = None,
    data_only: DataOnly = False,
    disable_triggers: NoTriggers = False,
    no_owner: NoOwner = False,
    no_privileges: NoPrivileges = False,
    no_tablespaces: NoTablespaces = False,
    overwrite: Overwrite = False,
    keep_going: KeepGoing = False,
    globals_too: Globals = False,
) -> RestoreOptions:
    """The restore options as one value, which targets take unchanged."""
    return RestoreOptions(
        tables=tuple(table or ()),
        schemas=tuple(schema or ()),
        overwrite=overwrite,
        globals=globals_too,
        data_only=data_only,
        triggers=not disable_triggers,
        owners=not no_owner,
        privileges=not no_privileges,
        tablespaces=not no_tablespaces,
        keep_going=keep_going,
    )


EXAMPLES = """\
# A drill: restore into an empty database
holdfast restore shop/latest --to 'postgresql:///shop_check?host=/run/postgresql'

# One table, which replaces the existing one
holdfast restore shop/latest --to postgresql:///shop --table public.orders --overwrite

# A cluster as it was at a point in time; start its server
holdfast restore farm/latest --to file:///srv/farm --target-time '2026-11-21 18:00Z' --start

# Only show what would be restored
holdfast restore shop/latest --list
"""


@recoverable
@grouped(restore_options, name="options")
def restore(
    context: typer.Context,
    backup_id: BackupId,
    *,
    to: To = "",
    database: Database = "",
    password_file: PasswordFile = None,
    identity: Identity = None,
    list_only: ListOnly = False,
    as_json: JsonOption = False,
    options: RestoreOptions,
    recovery: Asked,
) -> None:
    """Restore a backup into the database, or a cluster into the folder, that --to names.

    The target must be empty, unless --overwrite is given. Each part is proven before it is used,
    and the restored rows are counted.
    """
    session = acting_session_of(context)
    manifest = session.manifest(backup_id, database)
    if list_only:
        _list(session, manifest, options, as_json=as_json)
        return
    if not to:
        raise typer.BadParameter("name the target of the restore", param_hint="--to")
    from holdfast.wiring.sources import target_for  # heavy, as in `Session`

    target = target_for(to, kind=manifest.server.kind, password_file=password_file)
    recovering = PointInTime(
        session=session, manifest=manifest, to=to, asked=recovery, identity=identity
    )
    planned = recovering.planned()
    _tell_forecast(session, planned, is_quiet=as_json)
    report = _restore(
        session, manifest, target, options=options, identity=identity, settings=planned.settings
    )
    _show(session, report, recovering.started(planned, is_quiet=as_json), as_json=as_json)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _tell_forecast(session: Session, planned: Recovered, *, is_quiet: bool) -> None:
    """Say before a recovery begins how much WAL it replays, and how long that takes."""
    forecast = planned.forecast
    if forecast is None:
        return
    seconds, drill = forecast.expected.seconds, forecast.expected.drill
    if is_quiet:
        events.info("recovery_expected", wal_bytes=forecast.wal_bytes, seconds=seconds, drill=drill)
        return
    time = "no drill measured how long that takes"
    if seconds is not None:
        time = f"restore and replay take about {span(timedelta(seconds=seconds))}, by drill {drill}"
    session.say(f"the recovery replays at most {size(forecast.wal_bytes)} of WAL; {time}")


def _restore(
    session: Session,
    manifest: Manifest,
    target: Target,
    *,
    options: RestoreOptions,
    identity: Path | None,
    settings: Mapping[str, str] | None,
) -> RestoreReport:
    from holdfast.wiring.reading import failed_statements

    identities = session.identities(identity)
    repository = session.repository(manifest.job)
    if not _is_signed(session, manifest):
        events.warning(
            "repository_not_signed",
            backup=manifest.backup_id,
            means="anybody who can write to it controls what this restore runs (docs/security.md)",
        )
    meter = Meter()
    with watched(meter, f"restore {manifest.backup_id}"):
        events.info("restore_begun", backup=manifest.backup_id, target=target.name)
        report = restore_backup(
            repository,
            target,
            manifest.backup_id,
            progress=meter,
            options=options,
            workers=session.reading_slots(manifest.job),
            settings=settings,
            identities=identities,
            statements=failed_statements(session.settings),
        )
    events.info(
        "restore_done", backup=manifest.backup_id, target=target.name, seconds=report.seconds
    )
    if options.is_whole and not report.failed:
        _remember(session, manifest)
    return report


def _remember(session: Session, manifest: Manifest) -> None:
    """Remember the restore for `list` on this host; the restore succeeds even if that fails."""
    from holdfast.wiring import reading

    try:
        name = session.repositories(manifest.job)[0]
        log = reading.verification_log(session.settings, name)
        log.restored(manifest.backup_id, at=now())
    except HoldfastError as error:
        events.debug("restore_not_remembered", problem=error.message)


def _is_signed(session: Session, manifest: Manifest) -> bool:
    """Whether its repository accepts signed manifests only."""
    from holdfast.wiring.reading import is_signed

    return is_signed(session.settings, manifest.job, chosen=session.chosen_repository)


def _show(session: Session, report: RestoreReport, recovered: Recovered, *, as_json: bool) -> None:
    plan, reached = recovered.plan, recovered.reached
    if as_json:
        signed = {"signed": _is_signed(session, report.manifest)}
        print_document("restore", _document(report) | signed | recovered.document)
        return
    rows = [
        (str(each.relation), str(each.rows_expected), _found(each.rows_found, each.rows_expected))
        for each in report.tables
    ]
    if rows:
        session.show(Table((words("TABLE"), number("EXPECTED"), number("FOUND")), rows))
    session.say(
        f"restored {report.manifest.backup_id} into {report.target}:"
        f" {counted(report.rows, 'row')}, {size(report.plain_bytes)} in {report.seconds:.1f} s",
        WARN if report.failed else GOOD,
    )
    for note in (*report.notes, *recovered.notes):
        session.say(f"note: {note}", WARN)
    _show_failed(session, report)
    if plan is not None and reached is None:
        session.say(f"a server started on it replays WAL until {plan.told}; it archives nothing")
    if reached is not None:
        session.say(f"the server is {reached.state}" + (f" at {reached.lsn}" * bool(reached.lsn)))


def _found(rows: int, expected: int) -> Cell:
    return str(rows) if rows == expected else Coloured(str(rows), BAD)


def _show_failed(session: Session, report: RestoreReport) -> None:
    for each in report.failed:
        session.say(f"failed: {each.kind} '{each.name}': {each.cause}", BAD)
        if each.statement and not each.is_secret:
            session.say(f"  {_one_line(each.statement)}")
    if report.failed:
        where = f"; run their statements later: {report.script}" if report.script else ""
        objects = counted(len(report.failed), "object")
        session.say(f"{objects} could not be restored{where}", BAD)


def _one_line(statement: str) -> str:
    said = " ".join(statement.split())
    return said if len(said) <= STATEMENT_SHOWN else f"{said[:STATEMENT_SHOWN]}..."


def _list(session: Session, manifest: Manifest, options: RestoreOptions, *, as_json: bool) -> None:
    streams.output_is_the_answer()
    steps = planned_steps(manifest, options)
    if as_json:
        print_document("restore-list", _of_steps(manifest, steps))
        return
    rows = [
        (each.kind.value, each.what, "" if each.rows is None else str(each.rows), size(each.size))
        for each in steps
    ]
    session.show(Table((words("STEP"), words("WHAT"), number("ROWS"), number("SIZE")), rows))
    session.say(f"would restore {manifest.backup_id}: {counted(len(steps), 'step')}")


def _document(report: RestoreReport) -> Document:
    return {
        "backup": report.manifest.backup_id,
        "target": report.target,
        "tables": [
            {
                **of_relation(table.relation),
                "rows_expected": table.rows_expected,
                "rows_found": table.rows_found,
                "checksum_expected": table.checksum_expected or None,
                "checksum_found": table.checksum_found or None,
            }
            for table in report.tables
        ],
        "rows": report.rows,
        "plain_bytes": report.plain_bytes,
        "seconds": report.seconds,
        "failed": [
            {
                "kind": each.kind,
                "name": each.name,
                "cause": each.cause,
                # A statement that may hold a password is only in the script, which only its owner
                # can read.
                "statement": None if each.is_secret else each.statement,
            }
            for each in report.failed
        ],
        "script": report.script or None,
        "notes": list(report.notes),
        "exit_code": report.exit_code,
    }


def _of_steps(manifest: Manifest, steps: Sequence[Step]) -> Document:
    return {
        "backup": manifest.backup_id,
        "steps": [
            {"kind": each.kind.value, "what": each.what, "rows": each.rows, "bytes": each.size}
            for each in steps
        ],
    }
