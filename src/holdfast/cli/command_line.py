"""What a command line requests, and which exit code its caller understands.

It imports nothing heavy, as it runs before anything is loaded. PostgreSQL takes any code of
`holdfast wal get` up to 125 for the end of its WAL. It then ends its recovery for good, and opens
the database without the rest. So only a file that is known to be missing from the archive may cause
such a code.
"""

from __future__ import annotations

from collections.abc import Sequence

# Options before the command that take a value.
VALUED = ("--config", "--log-format", "--repository")

NOT_THERE = 1
"""The exit code for a server if a file is not archived."""

NOT_ARCHIVED = 1000
"""The code of `wal get` itself in that case; no error, library or interpreter uses it."""

STOPS_RECOVERY = 150
"""Added to every other code: above 125 a server stops, and retries after its next start."""

TERMINATED = 143
"""As if SIGTERM had ended us, so that the server knows that it was asked to stop."""

USAGE, INTERRUPTED = 2, 130


def command_of(arguments: Sequence[str]) -> str:
    """The first word after the options; empty for options that work without a command."""
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
    """All words that are no options, including values of options."""
    return [word for word in arguments if not word.startswith("-")]


def code_for_server(arguments: Sequence[str], code: int) -> int:
    """Translate `code` into what the caller of `arguments` understands."""
    if code == 0 or not _is_asked_by_server(arguments, code):
        return code
    if code == NOT_ARCHIVED:
        return NOT_THERE
    if code == INTERRUPTED:
        return TERMINATED
    # A standby asks again, but repeating does not fix a wrong command line.
    return NOT_THERE if "--standby" in arguments and code != USAGE else STOPS_RECOVERY + code


def _is_asked_by_server(arguments: Sequence[str], code: int) -> bool:
    """Whether a server called us.

    A command line that cannot be parsed counts as a server's if it might be one.
    """
    if command_of(arguments) != "wal" and code != USAGE:
        return False
    words = words_of(arguments)
    return "wal" in words and "get" in words[words.index("wal") :]
