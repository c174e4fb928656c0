"""Load modules before they are needed: beside a wait, or before an upgrade removes their files."""

from __future__ import annotations

import threading
from contextlib import suppress
from importlib import import_module

from holdfast.model.errors import TasksRefused
from holdfast.runtime.kernel import start

# What functions import when they need it, so that short commands need not load it.
LIBRARIES = ("zstandard", "pyrage", "blake3", "xxhash", "crc32c", "stamina")


def begin_loading(module: str) -> threading.Thread:
    """The thread that loads `module`; another import of it waits until that has ended.

    An error is left to that import, which is where the module is needed. So is all of it on a host
    that refuses another thread.
    """
    thread = threading.Thread(target=_load, args=(module,), name=f"load-{module}", daemon=True)
    with suppress(TasksRefused):
        start(thread)
    return thread


def load_now(*modules: str) -> None:
    """Load what a process needs later that runs for weeks: an upgrade may remove it before.

    An error is left to the import where a module is needed: not all of them are installed.
    """
    for module in modules:
        _load(module)


def _load(module: str) -> None:
    # Whatever it is: the import that needs the module raises it again.
    with suppress(Exception):
        import_module(module)
