"""A guard that knows only this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from holdfast.errors import RunInFlight


class MemoryGuard:
    """One run of a job at a time among everybody who has this object."""

    def __init__(self) -> None:
        self.owners: dict[str, dict[str, str]] = {}

    @contextmanager
    def hold(self, job: str, *, deadline: datetime | None) -> Iterator[None]:
        if job in self.owners:
            raise RunInFlight(
                f"cannot run job '{job}': another run is under way",
                hint="wait for it to end",
            )
        self.owners[job] = {"pid": "1", "deadline": deadline.isoformat() if deadline else ""}
        try:
            yield
        finally:
            del self.owners[job]

    def owner(self, job: str) -> dict[str, str] | None:
        return self.owners.get(job)
