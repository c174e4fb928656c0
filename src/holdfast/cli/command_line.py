"""What a command line asks for, as far as it can be told before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence

# Options that stand before the command and are followed by a value.
VALUED = ("--config", "--log-format", "--repository")


def command_of(arguments: Sequence[str]) -> str:
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


def words_of(arguments: Sequence[str]) -> list[str]:
    """All that is no option, values of options among it."""
    return [word for word in arguments if not word.startswith("-")]
