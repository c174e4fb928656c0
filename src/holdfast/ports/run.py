"""What every run needs: the time, the lock of its job, and a display of progress."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

Clock = Callable[[], datetime]
"""The time now, with time zone UTC."""


class Hold(Protocol):
    """A job that this run holds."""

    @property
    def lost(self) -> str:
        """Why another run may have taken the job; empty while this run holds it.

        Makes no request to the repository.
        """
        ...

    def prove(self) -> None:
        """Renew the hold: no other run can take the job within the next `lease_time`.

        Raises `LeaseLost`, `RepositoryUnreachable`.
        """
        ...


class Guard(Protocol):
    """Allows one run of a job at a time."""

    def hold(self, job: str, *, deadline: datetime | None) -> AbstractContextManager[Hold]:
        """Hold the job until the block ends or this process dies, however it dies.

        Raises `RunInFlight` naming the owner, `RepositoryBusy`.
        """
        ...

    def owner(self, job: str) -> dict[str, str] | None:
        """Who is running the job now; None if it is idle."""
        ...


class Progress(Protocol):
    """Receives the progress of a run; called from worker threads, never blocks."""

    def begin(self, *, total_bytes: int, parts: int) -> None: ...

    def advance(self, size_bytes: int) -> None: ...

    def part_done(self, name: str) -> None: ...
