"""A guard within this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from holdfast.model.errors import LeaseLost, RunInFlight
from holdfast.ports.run import Hold


class MemoryHold:
    """Obeys `ports.run.Hold`: held until a test sets the reason for its loss in `lost`."""

    def __init__(self) -> None:
        self.lost = ""
        self.proofs = 0
        self.lose_at_proof: int | None = None

    def prove(self) -> None:
        self.proofs += 1
        if self.lost or self.proofs == self.lose_at_proof:
            self.lost = self.lost or "another host has taken it over"
            raise LeaseLost(f"cannot continue with 'shop': {self.lost}")


class MemoryGuard:
    """One run of a job at a time among all users of this object."""

    def __init__(self) -> None:
        self.owners: dict[str, dict[str, str]] = {}
        self.hold_given = MemoryHold()

    @contextmanager
    def hold(self, job: str, *, deadline: datetime | None) -> Iterator[Hold]:
        if job in self.owners:
            raise RunInFlight(
                f"cannot run job '{job}': another run is in progress",
                hint="wait for it to end",
            )
        self.owners[job] = {"pid": "1", "deadline": deadline.isoformat() if deadline else ""}
        try:
            yield self.hold_given
        finally:
            del self.owners[job]

    def owner(self, job: str) -> dict[str, str] | None:
        return self.owners.get(job)
