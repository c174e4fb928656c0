"""What every run asks of its surroundings: the time, the lock of its job, a display of progress."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

Clock = Callable[[], datetime]
"""The time now, with time zone UTC."""


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


class Progress(Protocol):
    """Somebody who wants to know how far we are; called from worker threads, never blocks."""

    def begin(self, *, total_bytes: int, parts: int) -> None: ...

    def advance(self, size_bytes: int) -> None: ...

    def part_done(self, name: str) -> None: ...
