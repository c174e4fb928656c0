"""A kernel that refuses threads, as under a limit on tasks."""

from __future__ import annotations

import re
import threading

import pytest


def refuse_threads(monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    """Refuse from now on every thread whose name matches all of `pattern`."""
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if re.fullmatch(pattern, thread.name):
            # CPython's exact words when pthread_create returns EAGAIN.
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)


def threads_named(prefix: str) -> list[str]:
    """The names of running threads with that prefix."""
    return [each.name for each in threading.enumerate() if each.name.startswith(prefix)]
