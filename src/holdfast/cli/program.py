"""The program: its options, and its commands by name."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from holdfast.cli.parameters import Option
from holdfast.runtime.events import LogFormat, set_up

CONFIG = Path("/etc/holdfast/holdfast.yaml")

COMMANDS = {
    "plan": "holdfast.cli.plan:plan",
    "backup": "holdfast.cli.backup:backup",
    "list": "holdfast.cli.list:list_backups",
    "show": "holdfast.cli.show:show",
    "verify": "holdfast.cli.verify:verify",
    "restore": "holdfast.cli.restore:restore",
    "drill": "holdfast.cli.drill:drill",
    "drills": "holdfast.cli.drills:drills",
    "windows": "holdfast.cli.windows:windows",
    "copy": "holdfast.cli.copy:copy",
    "du": "holdfast.cli.du:du",
    "prune": "holdfast.cli.prune:prune",
    "repair": "holdfast.cli.repair:repair",
    "snapshot": "holdfast.cli.snapshot:snapshot",
    "check": "holdfast.cli.check:check",
    "status": "holdfast.cli.status:status",
    "fleet": "holdfast.cli.fleet:fleet",
    "notify": "holdfast.cli.notify:commands",
    "config": "holdfast.cli.config:commands",
    "keys": "holdfast.cli.keys:commands",
    "session": "holdfast.cli.session:commands",
    "wal": "holdfast.cli.wal:commands",
}
"""Where each command is, in the order of the help.

By name, so that only the requested command is loaded: a server calls `wal` for each segment.
"""

QUICK = frozenset({"backup", "list", "show", "status", "wal"})
"""What servers and monitors call often: read without typer, unless something about it is unusual.

Its functions declare what they take with `cli.parameters` alone.
"""


def print_version() -> None:
    """Print the version, and end."""
    from holdfast.runtime.installed import installed_version

    sys.stdout.write(f"holdfast {installed_version()}\n")
    raise SystemExit(0)


def _if_asked(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if wanted:
        print_version()


def options(
    context: Any,
    *,
    config: Annotated[
        Path, Option(metavar="FILE", readable=False, help="The configuration file.")
    ] = CONFIG,
    log_format: Annotated[
        LogFormat,
        Option(help="Logs on stderr. auto: only warnings on a terminal, else everything as JSON."),
    ] = LogFormat.AUTO,
    verbose: Annotated[
        bool,
        Option("--verbose", "-v", help="Log more events, and show where an error came from."),
    ] = False,
    repository: Annotated[
        str,
        Option(
            metavar="NAME",
            help="Use this repository of the configuration instead of the job's own.",
        ),
    ] = "",
    _version: Annotated[
        bool,
        Option("--version", callback=_if_asked, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Options that stand before the command's name."""
    from holdfast.cli.context import Session

    set_up(log_format, verbose=verbose)
    context.obj = Session(config=config, chosen_repository=repository)


def loaded(name: str) -> Any:
    """The command, or the group of commands, of that name."""
    module, _, attribute = COMMANDS[name].partition(":")
    return getattr(import_module(module), attribute)
