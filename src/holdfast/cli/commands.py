"""One table of all commands."""

from __future__ import annotations

from collections.abc import Callable

import typer

from holdfast.cli import (
    backup,
    check,
    config,
    copy,
    keys,
    prune,
    restore,
    session,
    show,
    snapshot,
    verify,
    wal,
)

COMMANDS: dict[str, Callable[..., None]] = {
    "plan": backup.plan,
    "backup": backup.backup,
    "list": show.list_backups,
    "show": show.show,
    "verify": verify.verify,
    "restore": restore.restore,
    "copy": copy.copy,
    "du": show.du,
    "prune": prune.prune,
    "repair": prune.repair,
    "snapshot": snapshot.snapshot,
    "check": check.check,
    "status": check.status,
}


def add_to(app: typer.Typer) -> None:
    """All of them, in the order in which help lists them."""
    for name, command in COMMANDS.items():
        app.command(name)(command)
    app.add_typer(config.commands, name="config")
    app.add_typer(keys.commands, name="keys")
    app.add_typer(session.commands, name="session")
    app.add_typer(wal.commands, name="wal")
