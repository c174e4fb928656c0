"""`holdfast restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.catalog.catalog import Catalog
from holdfast.cli import documents, logs
from holdfast.cli.progress import metered
from holdfast.cli.session import BackupId, JsonOption, print_document, session_of
from holdfast.cli.tables import size, table_of
from holdfast.operations.restore import RestoreChoice
from holdfast.operations.restore import restore as restore_backup

To = Annotated[
    str, typer.Option("--to", metavar="URL", help="The database to restore into; made if missing.")
]
Tables = Annotated[
    list[str] | None,
    typer.Option("--table", metavar="SCHEMA.NAME", help="Only this table; may be repeated."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what the database already holds.")
]
Globals = Annotated[
    bool, typer.Option("--globals", help="Bring back roles or accounts and their grants too.")
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


def restore(
    context: typer.Context,
    backup_id: BackupId,
    *,
    to: To,
    table: Tables = None,
    overwrite: Overwrite = False,
    globals_too: Globals = False,
    password_file: PasswordFile = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a backup back into the database that --to names.

    The database must be empty unless --overwrite is given. Every part is proven against its
    fingerprints on the way, and the rows are counted afterwards.

    \b
    holdfast restore shop/latest --to postgresql:///shop_check?host=/run/postgresql
    holdfast restore stock/latest --to mysql://root@localhost/stock_check
    holdfast restore shop/latest --to postgresql:///shop --table public.orders --overwrite
    """
    session = session_of(context)
    job = backup_id.partition("/")[0]
    repository = session.repository(job)
    manifest = Catalog(repository).find(backup_id)
    target = session.target(to, kind=manifest.server.kind, password_file=password_file)
    choice = RestoreChoice(
        # By its full name: what is latest may change while we work.
        backup_id=manifest.backup_id,
        tables=table or (),
        overwrite=overwrite,
        globals=globals_too,
        workers=session.reading_slots(job),
    )
    with metered(f"restore {manifest.backup_id}") as meter:
        logs.info("restore_begun", backup=manifest.backup_id, target=target.name)
        report = restore_backup(repository, target, choice, progress=meter)
    logs.info("restore_done", backup=manifest.backup_id, target=target.name, seconds=report.seconds)
    if as_json:
        print_document("restore", documents.of_restore(report))
        return
    rows = [
        (str(each.relation), str(each.rows_expected), str(each.rows_found))
        for each in report.tables
    ]
    session.show(table_of(("TABLE", "EXPECTED", "FOUND"), rows))
    session.say(
        f"restored {manifest.backup_id} into {report.target}: {report.rows} rows, "
        f"{size(report.plain_bytes)} in {report.seconds:.1f} s"
    )
