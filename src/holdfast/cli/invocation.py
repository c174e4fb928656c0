"""One call of the program: its parser, signals, and the place where every error ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType, SimpleNamespace
from typing import Any

from holdfast.cli import program, quick_parser
from holdfast.cli.completion import COMPLETING
from holdfast.cli.parameters import Group, Run
from holdfast.model.errors import HoldfastError, Interrupted, OutputLost, Reported
from holdfast.runtime import streams
from holdfast.runtime.cleanup import afterwards, notes_of
from holdfast.runtime.events import labelled, prefix
from holdfast.runtime.kernel import foreseen

# A closed terminal must not leave a half-cleaned run behind either.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
    except ImportError:
        # Half of the program is installed: `main` says so, and needs nothing else for it.
        raise
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
            if COMPLETING in os.environ or not _is_run_quickly(arguments):
                # Loaded only here: it takes longer than most commands.
                from holdfast.cli import typer_program

                typer_program.run(arguments)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0


def _is_run_quickly(arguments: Sequence[str]) -> bool:
    """Run the command if its line can be read without typer; returns whether it could."""
    try:
        if arguments == ["--version"]:
            program.print_version()
        common, words = quick_parser.taken(program.options, arguments)
        name, run, rest = _command_in(words)
        values = quick_parser.values_of(run, rest)
    except quick_parser.Unusual:
        return False
    caller = SimpleNamespace(obj=None)
    program.options(caller, **common)
    with caller.obj.telling(name, values):
        run(caller, **values)
    return True


def _command_in(words: Sequence[str]) -> tuple[str, Run, Sequence[str]]:
    """The name and the function of the command, and its words; raises `Unusual`."""
    if not words or words[0] not in program.QUICK:
        raise quick_parser.Unusual
    found, name, rest = program.loaded(words[0]), words[0], words[1:]
    if not isinstance(found, Group):
        return name, found, rest
    if not rest or rest[0] not in found.commands:
        raise quick_parser.Unusual
    return f"{name} {rest[0]}", found.commands[rest[0]].run, rest[1:]


def _told(arguments: list[str], error: Reported, raised: BaseException) -> int:
    """Report the error once, as text or JSON; returns its exit code."""
    notes = notes_of(raised)
    if "--verbose" in arguments or "-v" in arguments:
        streams.print_trace(raised)
    if "--json" in arguments:
        from holdfast.cli.context import print_document

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
