"""`holdfast restore`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
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
    print_document,
)
from holdfast.cli.options import grouped
from holdfast.cli.recovery_options import Asked, planned, recoverable, started
from holdfast.cli.render import documents
from holdfast.cli.render.terminal import metered, size, table_of
from holdfast.cli.render.wal_documents import of_recovery
from holdfast.cli.restore_options import Choose, chosen
from holdfast.model.backup import Manifest
from holdfast.model.recovery import ASIDE, Reached, Recovery
from holdfast.operations.restore.backup import RestoreChoice, RestoreReport, planned_steps
from holdfast.operations.restore.backup import restore as restore_backup
from holdfast.ports.target import Target
from holdfast.runtime import events, streams

# A function may be long; the script has all of it.
STATEMENT_SHOWN = 160

To = Annotated[
    str,
    typer.Option(
        "--to", metavar="URL", help="Restore into this database, or this file:///DIRECTORY."
    ),
]
ListOnly = Annotated[
    bool, typer.Option("--list", help="Only show what would be restored, in its order.")
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        readable=False,
        help="The password for --to, so that no list shows it.",
    ),
]


@recoverable
@grouped(chosen, name="choice")
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
    choice: Choose,
    recovery: Asked,
) -> None:
    """Bring a backup back into the database, or a cluster into the folder, that --to names.

    It must be empty, or --overwrite be given. Each part is proven on the way; rows are counted.

    \b
    holdfast restore shop/latest --to postgresql:///shop_check?host=/run/postgresql
    holdfast restore shop/latest --to postgresql:///shop --table public.orders --overwrite
    holdfast restore farm/latest --to file:///srv/farm --target-time '2026-11-21 18:00Z' --start
    """
    session = acting_session_of(context)
    manifest = session.manifest(backup_id, database)
    wanted = choice(manifest.backup_id)
    if list_only:
        _list(session, manifest, wanted, as_json=as_json)
    elif to:
        target = session.target(to, kind=manifest.server.kind, password_file=password_file)
        bring = partial(_restore, session, manifest, wanted, target, identity)
        _go_to(session, manifest, to, recovery, bring, identity, as_json=as_json)
    else:
        raise typer.BadParameter("name what to restore into", param_hint="--to")


def _go_to(
    session: Session,
    manifest: Manifest,
    to: str,
    wanted: Asked,
    bring: Callable[[Mapping[str, str] | None], RestoreReport],
    identity: Path | None,
    *,
    as_json: bool,
) -> None:
    """Restore, once it is known that the recovery that is asked for leads where it should."""
    plan, notes = planned(session, manifest, to, wanted, identity)
    report = bring(plan.settings if plan else ASIDE if wanted.start else None)
    reached = started(session, manifest, to, wanted, plan, is_quiet=as_json)
    _show(session, report, plan, reached, notes, as_json=as_json)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _restore(
    session: Session,
    manifest: Manifest,
    choice: RestoreChoice,
    target: Target,
    identity: Path | None,
    settings: Mapping[str, str] | None,
) -> RestoreReport:
    identities = session.identities(identity)
    choice = replace(choice, settings=settings, workers=session.reading_slots(manifest.job))
    repository = session.repository(manifest.job)
    if not session.is_signed(manifest.job):
        events.warning(
            "repository_not_signed",
            backup=manifest.backup_id,
            means="whoever can write to it decides what this restore runs (docs/security.md)",
        )
    with metered(f"restore {manifest.backup_id}") as meter:
        events.info("restore_begun", backup=manifest.backup_id, target=target.name)
        report = restore_backup(
            repository,
            target,
            choice,
            progress=meter,
            identities=identities,
            statements=session.failed_statements(),
        )
    events.info(
        "restore_done", backup=manifest.backup_id, target=target.name, seconds=report.seconds
    )
    return report


def _show(
    session: Session,
    report: RestoreReport,
    plan: Recovery | None,
    reached: Reached | None,
    notes: list[str],
    *,
    as_json: bool,
) -> None:
    if as_json:
        recovery = of_recovery(plan, reached, notes)
        signed = {"signed": session.is_signed(report.manifest.job)}
        print_document("restore", documents.of_restore(report) | signed | recovery)
        return
    rows = [
        (str(each.relation), str(each.rows_expected), str(each.rows_found))
        for each in report.tables
    ]
    if rows:
        session.show(table_of(("TABLE", "EXPECTED", "FOUND"), rows))
    session.say(
        f"restored {report.manifest.backup_id} into {report.target}: {report.rows} rows, "
        f"{size(report.plain_bytes)} in {report.seconds:.1f} s"
    )
    for note in (*report.notes, *notes):
        session.say(f"note: {note}")
    _show_failed(session, report)
    if plan is not None and reached is None:
        session.say(f"a server started on it replays WAL until {plan.told}; it archives nothing")
    if reached is not None:
        session.say(f"the server is {reached.state}" + (f" at {reached.lsn}" * bool(reached.lsn)))


def _show_failed(session: Session, report: RestoreReport) -> None:
    for each in report.failed:
        session.say(f"failed: {each.kind} '{each.name}': {each.cause}")
        if each.statement and not each.is_secret:
            session.say(f"  {_one_line(each.statement)}")
    if report.failed:
        where = f"; their statements, to be run later: {report.script}" if report.script else ""
        session.say(f"{len(report.failed)} objects could not be restored{where}")


def _one_line(statement: str) -> str:
    said = " ".join(statement.split())
    return said if len(said) <= STATEMENT_SHOWN else f"{said[:STATEMENT_SHOWN]}..."


def _list(session: Session, manifest: Manifest, choice: RestoreChoice, *, as_json: bool) -> None:
    streams.output_is_the_answer()
    steps = planned_steps(manifest, choice)
    if as_json:
        print_document("restore-list", documents.of_steps(manifest, steps))
        return
    rows = [
        (each.kind.value, each.what, "" if each.rows is None else str(each.rows), size(each.size))
        for each in steps
    ]
    session.show(table_of(("STEP", "WHAT", "ROWS", "SIZE"), rows))
    session.say(f"would restore {manifest.backup_id}: {len(steps)} steps")
