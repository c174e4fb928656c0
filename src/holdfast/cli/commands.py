"""One table of all commands."""

from __future__ import annotations

from collections.abc import Callable

import typer

from holdfast.cli import (
    configuration,
    copying,
    health,
    holding,
    keeping,
    keys,
    making,
    reading,
    restoring,
    snapshotting,
    verifying,
    wal,
)

COMMANDS: dict[str, Callable[..., None]] = {
    "plan": making.plan,
    "backup": making.backup,
    "list": reading.list_backups,
    "show": reading.show,
    "verify": verifying.verify,
    "restore": restoring.restore,
    "copy": copying.copy,
    "du": reading.du,
    "prune": keeping.prune,
    "repair": keeping.repair,
    "snapshot": snapshotting.snapshot,
    "check": health.check,
    "status": health.status,
}


def add_to(app: typer.Typer) -> None:
    """All of them, in the order in which help lists them."""
    for name, command in COMMANDS.items():
        app.command(name)(command)
    app.add_typer(configuration.commands, name="config")
    app.add_typer(keys.commands, name="keys")
    app.add_typer(holding.commands, name="session")
    app.add_typer(wal.commands, name="wal")
