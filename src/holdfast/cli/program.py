"""The program: global options, the commands by name, and the place where every error ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from holdfast.cli.command_line import command_of
from holdfast.cli.completion import words_so_far
from holdfast.cli.context import CONFIG, CommandWithExamples, Session, print_document
from holdfast.model.errors import HoldfastError, Interrupted, OutputLost, Reported
from holdfast.runtime import streams
from holdfast.runtime.cleanup import afterwards, notes_of
from holdfast.runtime.events import LogFormat, labelled, prefix, set_up
from holdfast.runtime.kernel import foreseen

EPILOG = "Exit codes: 0 means done; each kind of error has its own code (docs/errors.md)."
# A closed terminal must not leave a half-cleaned run behind either.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

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
    "notify": "holdfast.cli.notify:commands",
    "config": "holdfast.cli.config:commands",
    "keys": "holdfast.cli.keys:commands",
    "session": "holdfast.cli.session:commands",
    "wal": "holdfast.cli.wal:commands",
}
"""Where each command is, in the order of the help.

By name, so that only the requested command is loaded: a server calls `wal` for each segment.
"""


class _Failed(Exception):
    """Carries an error of a command past typer, which handles some itself and exits with 1."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class _Commands(TyperGroup):
    """Passes on every error of a command; typer would take a lost connection for a closed pipe."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except Exception as error:
            raise _Failed(error) from error


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
        LogFormat,
        typer.Option(
            help="Logs on stderr. auto: only warnings on a terminal, else everything as JSON."
        ),
    ] = LogFormat.AUTO,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Log more events, and show where an error came from."),
    ] = False,
    repository: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Use this repository of the configuration instead of the job's own.",
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


def program(arguments: list[str]) -> typer.Typer:
    """A typer program with the commands that `arguments` may call."""
    app = typer.Typer(
        name="holdfast",
        cls=_Commands,
        help="Make, verify and restore backups of PostgreSQL, MySQL and MariaDB.",
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(options)
    for name in _wanted(arguments):
        module, _, attribute = COMMANDS[name].partition(":")
        loaded = import_module(module)
        command = getattr(loaded, attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, cls=CommandWithExamples, epilog=loaded.EXAMPLES)(command)
    return app


def _wanted(arguments: list[str]) -> Iterable[str]:
    """The requested command; all of them for help, or if no command has that name."""
    asked = command_of(arguments or words_so_far())
    if asked in COMMANDS:
        return [asked]
    return [] if arguments == ["--version"] else COMMANDS


def run(arguments: list[str]) -> int:
    """The exit code of the requested command; every error ends here, as text or JSON."""
    try:
        code = _run(arguments)
        if code == 0:
            streams.require_answer()
    except OutputLost as error:
        # A reader that went away (| head) got what it wanted, and needs no message.
        if streams.reader_is_gone():
            return error.exit_code
        # Not as a document: stdout cannot take one.
        return _told([], error, error)
    except Reported as error:
        return _told(arguments, error, error)
    except Exception as error:  # noqa: BLE001 - the outermost frame: told, and never swallowed
        return _told(arguments, foreseen(error) or _bug(error), error)
    return code


def _bug(error: Exception) -> HoldfastError:
    return HoldfastError(
        f"cannot continue: {type(error).__name__}: {error}",
        hint="this is a bug in holdfast: please report it with the output of -v",
    )


def _run(arguments: list[str]) -> int:
    try:
        with interruptible():
            program(arguments)(args=arguments)
    except _Failed as failed:
        error = failed.error
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    else:
        return 0
    raise error


def _told(arguments: list[str], error: Reported, raised: BaseException) -> int:
    """Report the error once, as text or JSON; returns its exit code."""
    notes = notes_of(raised)
    if "--verbose" in arguments or "-v" in arguments:
        streams.print_trace(raised)
    if "--json" in arguments:
        content = {"error": error.message, "hint": error.hint, "exit_code": error.exit_code}
        print_document("error", content | {"notes": notes})
    else:
        told = [("error", error.message), *(("note", note) for note in notes)]
        for label, text in [*told, *([("hint", error.hint)] if error.hint else [])]:
            line = streams.folded(f"{label}: {streams.printable(text)}", sys.stderr)
            sys.stderr.write(f"{prefix('error')}{labelled(label)}{line.removeprefix(label)}\n")
    return error.exit_code


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside the block a signal raises `Interrupted` once, so that clean-up runs undisturbed.

    Later signals meet a handler that does nothing. SIG_IGN would not do: children inherit it, and
    could then not be ended by a signal.
    """
    # Signals that our parent ignores (nohup, a shell's background job) stay ignored.
    handlers = {number: signal.getsignal(number) for number in ENDING}
    before = {number: each for number, each in handlers.items() if each is not signal.SIG_IGN}

    def raise_once(number: int, _frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, _already_ending)
        name = signal.Signals(number).name
        raise Interrupted(
            f"cannot continue: interrupted by {name}",
            hint="run the command again when ready",
        )

    for number in before:
        signal.signal(number, raise_once)
    with afterwards(_restore, before):
        yield


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _already_ending(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the first signal is being handled."""
