"""The events that a block of code logs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from holdfast.runtime import events


@contextmanager
def capture_logs() -> Iterator[list[dict[str, Any]]]:
    """Collects the events of all threads, with their names as `event` and levels as `log_level`."""
    logged: list[dict[str, Any]] = []

    def receive(level: str, event: str, fields: Mapping[str, object]) -> None:
        logged.append({"event": event, "log_level": level, **fields})

    before = events.send_to(receive)
    try:
        yield logged
    finally:
        events.send_to(before)
