"""Load a module in a thread, while the caller waits for a server or a disk."""

from __future__ import annotations

import threading
from contextlib import suppress
from importlib import import_module

from holdfast.model.errors import TasksRefused
from holdfast.runtime.kernel import start


def begin_loading(module: str) -> threading.Thread:
    """The thread that loads `module`; another import of it waits until that has ended.

    An error is left to that import, which is where the module is needed. So is all of it on a host
    that refuses another thread.
    """
    thread = threading.Thread(target=_load, args=(module,), name=f"load-{module}", daemon=True)
    with suppress(TasksRefused):
        start(thread)
    return thread


def _load(module: str) -> None:
    # Whatever it is: the import that needs the module raises it again.
    with suppress(Exception):
        import_module(module)
