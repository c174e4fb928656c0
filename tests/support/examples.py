"""The examples at the end of each command's help, as words that can be parsed and run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any

import typer

from holdfast.cli.typer_program import program

# A setting that a server is given: archive_command = '/usr/local/bin/holdfast ...'.
CALL = re.compile(r"= '/usr/local/bin/holdfast ([^']+)'$")
AFTER_A_COMMAND = {"|", ">"}


@cache
def root() -> Any:
    return typer.main.get_command(program([]))


def commands(group: Any = None, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name: `wal push`, not `wal`."""
    for word, each in (group or root()).commands.items():
        if hasattr(each, "commands"):
            yield from commands(each, f"{name}{word} ")
        else:
            yield f"{name}{word}", each


def pairs(examples: str) -> list[list[str]]:
    """The lines of each example: an explanation, and the command."""
    return [each.split("\n") for each in examples.strip().split("\n\n")]


def words_of(line: str) -> list[str]:
    """The words after `holdfast` in a line of a shell; empty if it calls something else."""
    words = shlex.split(line.removeprefix("sudo -u holdfast "))
    if words[0] == "holdfast":
        ends = [at for at, word in enumerate(words) if word in AFTER_A_COMMAND]
        return words[1 : ends[0] if ends else None]
    calls = [each for word in words if (each := CALL.search(word))]
    return shlex.split(calls[0][1]) if calls else []


def wrong_with(words: list[str]) -> str:
    """What the parser of the command line says against the words; empty if it takes them."""
    command, name, context, rest = root(), "holdfast", None, words
    try:
        while hasattr(command, "commands"):
            context = command.make_context(name, rest, parent=context)
            name, command, rest = command.resolve_command(
                context, [*context._protected_args, *context.args]
            )
        command.make_context(name, rest, parent=context)
    except (typer.TyperException, typer.Exit) as error:
        return str(error) or type(error).__name__
    return ""
