"""The port to locks: one run of a job at a time, and whether it still is ours."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol


class Hold(Protocol):
    """A job that is ours."""

    @property
    def lost(self) -> str:
        """Why others may by now have taken it; empty while it is ours. Asks nobody."""
        ...

    def prove(self) -> None:
        """Ask whoever would know: after this nobody else has it for the next `lease_time`.

        Raises `LeaseLost`, `RepositoryUnreachable`.
        """
        ...


class Guard(Protocol):
    """One run of a job at a time."""

    def hold(self, job: str, *, deadline: datetime | None) -> AbstractContextManager[Hold]:
        """Own the job until the block ends, or until this process dies, however it dies.

        Raises `RunInFlight` naming the owner, `RepositoryBusy`.
        """
        ...

    def owner(self, job: str) -> dict[str, str] | None:
        """Who is running the job now, if anybody."""
        ...
