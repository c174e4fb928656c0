"""What a command line asks for, and which exit code its caller understands; nothing is loaded yet.

PostgreSQL takes any code of `holdfast wal get` up to 125 for the end of its WAL: it ends its
recovery for good, and opens the database without the rest. Only what is known to be missing from
the archive may say that.
"""

from __future__ import annotations

from collections.abc import Sequence

# Options that stand before the command and are followed by a value.
VALUED = ("--config", "--log-format", "--repository")

NOT_THERE = 1
"""What a server is told where a file is not archived."""

NOT_ARCHIVED = 1000
"""What `wal get` itself ends with there: no error, library or interpreter has this number."""

STOPS_RECOVERY = 150
"""Added to every other code: above 125 a server stops, and goes on when it is started again."""

TERMINATED = 143
"""As if SIGTERM had ended us: then a server knows that it was asked to stop."""

USAGE, INTERRUPTED = 2, 130


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


def code_for_server(arguments: Sequence[str], code: int) -> int:
    """`code` as whoever called with `arguments` understands it."""
    if code == 0 or not _is_asked_by_server(arguments, code):
        return code
    if code == NOT_ARCHIVED:
        return NOT_THERE
    if code == INTERRUPTED:
        return TERMINATED
    # A standby asks again, which mends no command line.
    return NOT_THERE if "--standby" in arguments and code != USAGE else STOPS_RECOVERY + code


def _is_asked_by_server(arguments: Sequence[str], code: int) -> bool:
    """A line that cannot be understood is one as soon as it might be."""
    if command_of(arguments) != "wal" and code != USAGE:
        return False
    words = words_of(arguments)
    return "wal" in words and "get" in words[words.index("wal") :]
