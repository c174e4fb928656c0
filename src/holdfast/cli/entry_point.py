"""What the installed `holdfast` calls: the program in a process of its own, which then ends."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading
from typing import Any

from holdfast.cli import main as program

# New objects before their garbage is looked for, and such looks before one at older objects.
COLLECTIONS = (50_000, 50, 50)


def main() -> None:
    """Run the command; the process ends with its exit code."""
    # Loading modules makes no garbage, and the usual thresholds let it be looked for 30 times.
    gc.set_threshold(*COLLECTIONS)
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
