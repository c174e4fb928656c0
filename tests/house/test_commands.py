"""Commands in documents exist: every command of holdfast, with its options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

import pytest
import typer

from holdfast.cli.telling import SILENT
from holdfast.cli.typer_program import program
from holdfast.config.notify import Told
from tests.house.project import PROJECT
from tests.house.words import documents

# Fenced blocks and inline code; a backslash at the end of a line continues it.
CODE = re.compile(r"^```.*?^```|`[^`]+`", re.MULTILINE | re.DOTALL)
# Up to the end of a command in a shell, or to what a document adds after it.
CALL = re.compile(r"(?:^|[\s`(']|bin/)holdfast ((?:[^|;&#<>()`\n]|\|(?=[a-z]))+)", re.MULTILINE)
QUOTED = re.compile(r"'(?![^'\n]*holdfast )[^'\n]*'|\"[^\"\n]*\"")
WORD = re.compile(r"[a-z]+")
# Its walk-through adds a command that does not exist yet.
ADDS_A_COMMAND = "CONTRIBUTING.md"


def calls(text: str) -> Iterator[list[str]]:
    for code in CODE.findall(text.replace("\\\n", " ")):
        for call in CALL.findall(QUOTED.sub("VALUE", code)):
            # After a lone dash the document explains the command.
            if words := re.split(r" - ", call)[0].split():
                yield words


@cache
def commands() -> Any:
    return typer.main.get_command(program([]))


def wrong_with(words: list[str]) -> str:
    """What is wrong with the words; empty if it is a command and all options are its own."""
    group = commands()
    known = {option for each in group.params for option in each.opts}
    for word in words:
        if re.match(r"-{1,2}[a-z]", word):
            option = word.partition("=")[0].strip(",.'\"")
            if option not in known and option != "--help":
                return f"no option {option}"
        elif "|" not in word and hasattr(group, "commands"):
            if word not in group.commands:
                # The value of an option, or one of several commands.
                continue
            group = group.commands[word]
            known |= {option for each in group.params for option in each.opts}
    is_named = group is not commands() or not WORD.fullmatch(words[0])
    return "" if is_named else f"no command {words[0]}"


def test_every_command_in_a_document_exists_with_its_options() -> None:
    wrong = [
        f"{path.relative_to(PROJECT)}: holdfast {' '.join(words)}: {problem}"
        for path in documents()
        if path.name != ADDS_A_COMMAND
        for words in calls(path.read_text())
        if (problem := wrong_with(words))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("`holdfast verify shop --level ledger`", ""),
        ("`holdfast --repository offsite prune shop`", ""),
        ("`holdfast wal push JOB %p`", ""),
        ("`holdfast verify shop --deep`", "no option --deep"),
        ("```sh\nholdfast mend shop   # so\n```", "no command mend"),
    ],
)
def test_a_command_that_does_not_exist_is_found(text: str, problem: str) -> None:
    (words,) = calls(text)
    assert wrong_with(words) == problem


def test_every_command_tells_its_end_or_is_known_to_be_silent() -> None:
    """A new command is told. If it should not be, `cli.telling.SILENT` names it."""
    found: set[str] = set()
    for name, command in commands().commands.items():
        below = getattr(command, "commands", None)
        found |= {f"{name} {each}" for each in below} if below else {name}
    assert found >= SILENT
    assert found - SILENT == set(get_args(Told)), "name it in SILENT, or in `config.notify.Told`"
