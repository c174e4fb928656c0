"""The entry point: it always ends with the right exit code, also after an import error.

So little is imported here: if the program cannot be loaded, its exit code must still be right.
"""

from __future__ import annotations

import os
import sys

from holdfast.cli.command_line import code_for_server
from holdfast.runtime import streams
from holdfast.runtime.cleanup import afterwards

UNFORESEEN = 1
PRIVATE = 0o077


def main() -> None:
    """Run the command, and exit with its code."""
    streams.guard()
    arguments = sys.argv[1:]
    # Files for other users get their mode when they are created; children inherit this umask.
    with afterwards(os.umask, os.umask(PRIVATE)):
        code = _run(arguments)
    sys.exit(code_for_server(arguments, code))


def _run(arguments: list[str]) -> int:
    try:
        from holdfast.cli.invocation import run

        return run(arguments)
    except Exception as error:  # noqa: BLE001 - the outermost frame: told, and never swallowed
        if "--verbose" in arguments or "-v" in arguments:
            streams.print_trace(error)
        problem = streams.printable(f"{type(error).__name__}: {error}")
        sys.stderr.write(f"error: cannot run holdfast: {problem}\n")
        return UNFORESEEN
