"""Exit codes of `holdfast wal get`, on which a server acts, out of those of everything else.

A server takes any code up to 125 for the end of its WAL: it ends its recovery for good, and opens
the database without the rest. Only what is known to be missing from the archive may say that.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.cli.command_line import command_of, words_of

NOT_THERE = 1
"""What a server is told where a file is not archived."""

NOT_ARCHIVED = 1000
"""What `wal get` itself ends with there: no error, library or interpreter has this number."""

STOPS_RECOVERY = 150
"""Added to every other code: above 125 a server stops, and goes on when it is started again."""

TERMINATED = 143
"""As if SIGTERM had ended us: then a server knows that it was asked to stop."""

USAGE, INTERRUPTED = 2, 130


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
