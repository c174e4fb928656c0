"""Waiting for what a server does in its own time, such as noticing that a client has left."""

from __future__ import annotations

import time
from collections.abc import Callable

WAIT_SECONDS = 120.0
PAUSE_SECONDS = 0.02


def until(seen: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT_SECONDS
    while not seen():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(PAUSE_SECONDS)
