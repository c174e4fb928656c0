"""The program: options before the command, and one place where errors end."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.interruption import interruptible
from holdfast.cli.logs import LogFormat, set_up
from holdfast.cli.session import CONFIG, Session, print_document, printable
from holdfast.errors import HoldfastError

EPILOG = "Exit codes: 0 done; each kind of error has its own, listed in docs/errors.md."

# Those of the options below that are followed by a value.
VALUED = ("--config", "--log-format", "--repository")


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if wanted:
        from importlib.metadata import version  # a tenth of the start-up time, for one option

        typer.echo(f"holdfast {version('holdfast')}")
        raise typer.Exit


def options(
    context: typer.Context,
    *,
    config: Annotated[
        Path, typer.Option(metavar="FILE", readable=False, help="The configuration file.")
    ] = CONFIG,
    log_format: Annotated[
        LogFormat, typer.Option(help="Logs on stderr; auto: console on a terminal, else JSON.")
    ] = LogFormat.AUTO,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="More events, and where an error came from.")
    ] = False,
    repository: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Work with this repository of the configuration instead of the job's own.",
        ),
    ] = "",
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Options that stand before the command's name."""
    set_up(log_format, verbose=verbose)
    context.obj = Session(config=config, chosen_repository=repository)


def _program(arguments: list[str]) -> typer.Typer:
    app = typer.Typer(
        name="holdfast",
        help="Backups of PostgreSQL and MySQL/MariaDB that are whole or not there, and proven.",
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(options)
    if _command(arguments) == "wal":
        # A server calls it for each segment, and must not wait for all the others to load.
        from holdfast.cli import wal

        app.add_typer(wal.commands, name="wal")
    else:
        from holdfast.cli import commands

        commands.add_to(app)
    return app


def _command(arguments: list[str]) -> str:
    """What stands behind the options; empty where they ask for something themselves."""
    rest = iter(arguments)
    for word in rest:
        if not word.startswith("-"):
            return word
        if word in ("--help", "--version"):
            return ""
        if word in VALUED:
            next(rest, None)
    return ""


def main() -> None:
    """Run the command that was asked for; every error of ours ends here, as text or as JSON."""
    arguments = sys.argv[1:]
    try:
        with interruptible():
            _program(arguments)(args=arguments)
    except HoldfastError as error:
        _end(arguments, error.message, error.hint, error.exit_code, error)
    except Exception as error:  # noqa: BLE001 - the outermost frame: told, and never swallowed
        what = f"cannot go on: {type(error).__name__}: {error}"
        _end(arguments, what, "this is a bug of holdfast: please report it with -v", 1, error)


def _end(arguments: list[str], what: str, hint: str, exit_code: int, error: Exception) -> None:
    """Tell what went wrong, once, where whoever asked will look, and leave with its code."""
    if "--verbose" in arguments or "-v" in arguments:
        traceback.print_exception(error)
    if "--json" in arguments:
        print_document("error", {"error": what, "hint": hint, "exit_code": exit_code})
    else:
        sys.stderr.write(f"error: {printable(what)}\n")
        if hint:
            sys.stderr.write(f"hint: {printable(hint)}\n")
    sys.exit(exit_code)
