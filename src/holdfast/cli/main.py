"""The door: nothing but the exit code leaves the program, whatever happens behind it.

Little is imported here: a program that cannot be loaded must end with a code that is right too.
"""

from __future__ import annotations

import os
import sys
import traceback

from holdfast.cli.command_line import code_for_server
from holdfast.runtime import streams
from holdfast.runtime.cleanup import afterwards

UNFORESEEN = 1
PRIVATE = 0o077


def main() -> None:
    """Run the command that was asked for, and leave with its code."""
    streams.guard()
    arguments = sys.argv[1:]
    # What anybody else is to read gets its mode where it is made; this is for children too.
    with afterwards(os.umask, os.umask(PRIVATE)):
        code = _run(arguments)
    sys.exit(code_for_server(arguments, code))


def _run(arguments: list[str]) -> int:
    try:
        from holdfast.cli.program import run

        return run(arguments)
    except Exception as error:  # noqa: BLE001 - the outermost frame: told, and never swallowed
        if "--verbose" in arguments or "-v" in arguments:
            traceback.print_exception(error)
        sys.stderr.write(f"error: cannot run holdfast: {type(error).__name__}: {error}\n")
        return UNFORESEEN
