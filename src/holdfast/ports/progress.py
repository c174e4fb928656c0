"""The port to whoever wants to know how far a run is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Somebody who wants to know how far we are; called from worker threads, never blocks."""

    def begin(self, *, total_bytes: int, parts: int) -> None: ...

    def advance(self, size_bytes: int) -> None: ...

    def part_done(self, name: str) -> None: ...
