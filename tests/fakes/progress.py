"""A progress that records what it receives."""

from __future__ import annotations

import threading


class FakeProgress:
    """Counts; called from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total_bytes = 0
        self.parts = 0
        self.done_bytes = 0
        self.done_parts: list[str] = []

    def begin(self, *, total_bytes: int, parts: int) -> None:
        self.total_bytes, self.parts = total_bytes, parts

    def advance(self, size_bytes: int) -> None:
        with self._lock:
            self.done_bytes += size_bytes

    def part_done(self, name: str) -> None:
        with self._lock:
            self.done_parts.append(name)
