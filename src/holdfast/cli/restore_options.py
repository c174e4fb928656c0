"""The options of `holdfast restore` that say what of a backup comes back, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from holdfast.operations.restore.backup import RestoreChoice

Choose = Callable[[str], RestoreChoice]
"""What was chosen, of the backup with that id."""

Tables = Annotated[
    list[str] | None,
    typer.Option("--table", metavar="SCHEMA.NAME", help="Only this table; may be repeated."),
]
Schemas = Annotated[
    list[str] | None,
    typer.Option("--schema", metavar="NAME", help="Only this schema's tables; may be repeated."),
]
DataOnly = Annotated[
    bool, typer.Option("--data-only", help="Only rows, into tables that stand already.")
]
NoTriggers = Annotated[
    bool,
    typer.Option(
        "--disable-triggers", help="Rows for standing tables fire no trigger or foreign key."
    ),
]
NoOwner = Annotated[bool, typer.Option("--no-owner", help="All objects belong to who restores.")]
NoPrivileges = Annotated[bool, typer.Option("--no-privileges", help="Bring back no GRANT.")]
NoTablespaces = Annotated[
    bool,
    typer.Option("--no-tablespaces", help="Everything lies where the target puts it (PostgreSQL)."),
]
KeepGoing = Annotated[
    bool,
    typer.Option(
        "--keep-going",
        help="One object that fails does not cost the others: exit code 36, what failed is listed,"
        " and a script of its statements is kept.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what the database already holds.")
]
Globals = Annotated[
    bool, typer.Option("--globals", help="Bring back roles or accounts and their grants too.")
]


def chosen(
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
) -> Choose:
    """The options as one value."""
    return lambda backup_id: RestoreChoice(
        backup_id=backup_id,
        tables=table or (),
        schemas=schema or (),
        overwrite=overwrite,
        globals=globals_too,
        data_only=data_only,
        triggers=not disable_triggers,
        owners=not no_owner,
        privileges=not no_privileges,
        tablespaces=not no_tablespaces,
        keep_going=keep_going,
    )
