"""Ports that prove something: that a job is still ours, that a backup was read and found good."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reread:
    """When an object was last read back, and what was wrong with it; empty where nothing was.

    What is sealed may be compared as it is stored without being `opened`.
    """

    at: datetime
    problem: str = ""
    opened: bool = True


class Proofs(Protocol):
    """What this host has read back when, and which blobs nobody has referred to since when.

    It may be lost at any time: then everything counts as not yet read, and as just found.
    """

    def reread(self, backup_id: str, key: str, found: Reread) -> None:
        """Remember it instead of what was known; from worker threads.

        But a bad reading that opened the object stands until a good one opens it as well.
        """
        ...

    def of(self, backup_id: str) -> dict[str, Reread]:
        """By key."""
        ...

    def damaged(self, job: str) -> set[str]:
        """The backups of which something was bad when it was last read."""
        ...

    def forget(self, backup_id: str) -> None: ...

    def unreferenced(
        self, job: str, keys: Collection[str], *, now: datetime
    ) -> dict[str, datetime]:
        """Since when each of `keys` is unreferenced, `now` where that is new; others are not."""
        ...
