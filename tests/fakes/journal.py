"""The journal of unfinished backups, in memory."""

from __future__ import annotations

from dataclasses import replace

from holdfast.model.backup import Part
from holdfast.ports.host_state import Unfinished


class MemoryJournal:
    """Obeys `ports.host_state.Journal`."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], Unfinished] = {}

    def begin(self, unfinished: Unfinished) -> None:
        self.known[unfinished.job, unfinished.database] = unfinished

    def add(self, job: str, database: str, part: Part) -> None:
        found = self.known[job, database]
        self.known[job, database] = replace(found, parts=(*found.parts, part))

    def read(self, job: str, database: str) -> Unfinished | None:
        return self.known.get((job, database))

    def unfinished(self, job: str) -> list[Unfinished]:
        return [found for (of, _), found in self.known.items() if of == job]

    def end(self, job: str, database: str) -> None:
        self.known.pop((job, database), None)
