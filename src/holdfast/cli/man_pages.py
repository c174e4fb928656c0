"""The manual pages, from the commands themselves: `python -m holdfast.cli.man_pages FOLDER`.

A page in roff for the program and one for each command: `holdfast.1`, `holdfast-wal-push.1`.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from holdfast.cli.program import CONFIG
from holdfast.cli.typer_program import program
from holdfast.config.settings import SESSION_SOCKET, STATE_DIRECTORY
from holdfast.model import errors
from holdfast.model.errors import HoldfastError, Reported
from holdfast.runtime.files import PASSABLE_FOLDER, make_folder, whole_file, write_all

PROGRAM = "holdfast"
READABLE_FILE = 0o644
# What roff reads as something else, or prints as a character that a shell does not know.
ESCAPED = str.maketrans(
    {
        "\\": "\\e",
        "-": "\\-",
        "'": "\\(aq",
        "`": "\\(ga",
        "^": "\\(ha",
        "~": "\\(ti",
    }
)
NAMES = re.compile(r"^((?:-\S+ ?)+|\S+) ?(.*)")
FILES = {
    CONFIG: "The configuration, unless --config names another one.",
    STATE_DIRECTORY: "The state directory, unless the configuration names another one.",
    SESSION_SOCKET: "The socket of holdfast-sessiond, unless the configuration names another one.",
}
CODES = {
    0: "Success.",
    1: "An unforeseen error. Please report it.",
    2: "The command line cannot be parsed.",
}


def main(arguments: Sequence[str]) -> int:
    """Write every page into the folder that the arguments name."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m holdfast.cli.man_pages FOLDER\n")
        return 2
    folder = Path(arguments[0])
    make_folder(folder, mode=PASSABLE_FOLDER, above=PASSABLE_FOLDER)
    for name, text in pages().items():
        with whole_file(folder / name, mode=READABLE_FILE) as page:
            write_all(page, text.encode())
    return 0


def pages() -> Mapping[str, str]:
    """The text of every page by its file name."""
    found = _below(PROGRAM, typer.main.get_command(program([])))
    return {f"{name}.1": _page(name, command) for name, command in found}


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """The command and all commands inside it, each with the name of its page."""
    yield name, command
    for inner, each in _inside(name, command).items():
        yield from _below(inner, each)


def _inside(name: str, command: Any) -> Mapping[str, Any]:
    inner = command.commands if isinstance(command, TyperGroup) else {}
    return {f"{name}-{word}": each for word, each in inner.items()}


def _page(name: str, command: Any) -> str:
    inside = _inside(name, command)
    sections = {
        "NAME": [f"{_text(name)} \\- {_text(_paragraphs(command)[0].rstrip('.'))}"],
        "SYNOPSIS": [_synopsis(name, command)],
        "DESCRIPTION": [line for each in _paragraphs(command) for line in (".PP", _text(each))],
        "COMMANDS": _terms((_reference(n), _paragraphs(each)[0]) for n, each in inside.items()),
        "OPTIONS": _terms(_options(name, command)),
        "EXAMPLES": [line for each in _examples(command) for line in _example(each)],
        "EXIT STATUS": _exit_status(name),
        "FILES": _terms((_bold(str(path)), use) for path, use in FILES.items()),
        "SEE ALSO": [", ".join(_reference(each) for each in [*_above(name), *inside])],
    }
    lines = [f'.TH "{_text(name.upper())}" "1" "" "{PROGRAM} {_text(version(PROGRAM))}"']
    # Words that a reader copies are not broken at a hyphen.
    lines += [".nh", ".ad l"]
    for title, content in sections.items():
        # A command without commands inside has no such section.
        if any(content):
            lines += [f'.SH "{title}"', *content]
    return "\n".join([*lines, ""])


def _text(words: str) -> str:
    """The words as roff prints them; no line begins a request."""
    return re.sub(r"^\.", r"\\&.", words.translate(ESCAPED), flags=re.MULTILINE)


def _bold(words: str) -> str:
    return f"\\fB{_text(words)}\\fR"


def _reference(name: str) -> str:
    return f"{_bold(name)}(1)"


def _above(name: str) -> list[str]:
    words = name.split("-")
    return ["-".join(words[:count]) for count in range(1, len(words))]


def _paragraphs(command: Any) -> list[str]:
    return [" ".join(each.split()) for each in command.help.split("\n\n")]


def _terms(meanings: Iterator[tuple[str, str]]) -> list[str]:
    return [line for term, meaning in meanings for line in (".TP", term, _text(meaning))]


def _synopsis(name: str, command: Any) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    pieces = " ".join(command.collect_usage_pieces(context))
    # typer puts an argument that must be given in braces.
    return f"{_bold(name.replace('-', ' '))} {_text(re.sub('[{}]', '', pieces))}"


def _options(name: str, command: Any) -> Iterator[tuple[str, str]]:
    """Arguments and options with their values, as --help shows them."""
    context = command.make_context(name, [], resilient_parsing=True)
    for each in command.get_params(context):
        shown, meaning = each.get_help_record(context)
        # The names of an option (-v, --verbose) or of an argument, and what it takes.
        names, value = NAMES.findall(shown)[0]
        yield f"{_bold(names.strip())} \\fI{_text(value)}\\fR" if value else _bold(names), meaning


def _examples(command: Any) -> list[str]:
    """The examples of a command; of a group, the first one of each command inside."""
    if not isinstance(command, TyperGroup):
        found: list[str] = command.examples.strip().split("\n\n")
        return found
    return [_examples(each)[0] for each in command.commands.values()]


def _example(text: str) -> list[str]:
    why, line = text.split("\n")
    return [
        ".PP",
        f"{_text(why.removeprefix('# '))}:",
        ".PP",
        ".RS 4",
        ".nf",
        _text(line),
        ".fi",
        ".RE",
    ]


def _exit_status(name: str) -> list[str]:
    if name != PROGRAM:
        return [f"0 means success. {_reference(PROGRAM)} lists the exit code of every error."]
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass)]
    own = [
        each
        for each in classes
        if issubclass(each, Reported) and each not in (Reported, HoldfastError)
    ]
    codes = CODES | {each.exit_code: _first_line(each) for each in own}
    return _terms((_bold(str(code)), meaning) for code, meaning in sorted(codes.items()))


def _first_line(error: type[Reported]) -> str:
    return inspect.cleandoc(error.__doc__ or "").split("\n\n")[0].replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
