"""What commands take, declared once: for `quick_parser`, and for typer in `typer_program`.

typer and what it loads take three quarters of the time of a short command. So what a server or a
monitor calls often is declared here without it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from holdfast.model.lazy_dataclass import dataclass, field

Run = Callable[..., None]


def loaded_typer() -> Any:
    """The library, or None: no error is one of its own where a command ran without it."""
    return sys.modules.get("typer")


class Parameter:
    """One value of a command line: `names` are its spellings, `settings` those of typer."""

    __slots__ = ("names", "settings")

    def __init__(self, *names: str, **settings: Any) -> None:
        self.names = names
        self.settings = settings


class Option(Parameter):
    """`--name VALUE`, or a flag."""


class Argument(Parameter):
    """A word of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of a group, and the examples at the end of its help."""

    run: Run
    examples: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Commands below one word, by name."""

    help: str
    commands: dict[str, Command] = field(default_factory=dict)

    def command(self, name: str = "", *, examples: str) -> Callable[[Run], Run]:
        """Add the decorated function, under its own name unless there is another."""

        def added(run: Run) -> Run:
            self.commands[name or run.__name__] = Command(run=run, examples=examples)
            return run

        return added
