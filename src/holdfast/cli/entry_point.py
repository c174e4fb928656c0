"""What the installed `holdfast` calls: the program in a process of its own, which then ends."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import Any

from holdfast.cli import main as program
from holdfast.runtime import garbage


def main() -> None:
    """Run the command; the process ends with its exit code."""
    garbage.look_rarely()
    code = _code()
    _end(code)
    sys.exit(code)


def _code() -> Any:
    try:
        program.main()
    except SystemExit as ended:
        return ended.code
    return 0


def _end(code: Any) -> None:
    """End the process, unless only the interpreter itself can do so.

    The interpreter first frees every object and module one by one, which the kernel does at once.
    That takes a tenth of a short command, and 50 ms after a backup.
    """
    others = (each for each in threading.enumerate() if each is not threading.current_thread())
    if not isinstance(code, int) or not all(each.daemon for each in others):
        return
    # As the interpreter does it: what libraries registered may still print.
    atexit._run_exitfuncs()  # noqa: SLF001 - no other name runs them, and `multiprocessing` uses it too
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)
