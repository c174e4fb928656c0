"""One table of all commands."""

from __future__ import annotations

from collections.abc import Callable

import typer

from holdfast.cli import (
    backup,
    check,
    config,
    copy,
    du,
    keys,
    plan,
    prune,
    repair,
    restore,
    session,
    show,
    snapshot,
    status,
    verify,
    wal,
)
from holdfast.cli import list as listing

COMMANDS: dict[str, Callable[..., None]] = {
    "plan": plan.plan,
    "backup": backup.backup,
    "list": listing.list_backups,
    "show": show.show,
    "verify": verify.verify,
    "restore": restore.restore,
    "copy": copy.copy,
    "du": du.du,
    "prune": prune.prune,
    "repair": repair.repair,
    "snapshot": snapshot.snapshot,
    "check": check.check,
    "status": status.status,
}


def add_to(app: typer.Typer) -> None:
    """All of them, in the order in which help lists them."""
    for name, command in COMMANDS.items():
        app.command(name)(command)
    app.add_typer(config.commands, name="config")
    app.add_typer(keys.commands, name="keys")
    app.add_typer(session.commands, name="session")
    app.add_typer(wal.commands, name="wal")
