"""A kernel that gives no more threads, as under a limit on tasks."""

from __future__ import annotations

import re
import threading

import pytest


def refuse_threads(monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    """From now on every thread is refused whose whole name is as `pattern` says."""
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if re.fullmatch(pattern, thread.name):
            # The very words of CPython where pthread_create answers EAGAIN.
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)


def threads_named(prefix: str) -> list[str]:
    """Those that are still there."""
    return [each.name for each in threading.enumerate() if each.name.startswith(prefix)]
