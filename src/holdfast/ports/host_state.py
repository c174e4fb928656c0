"""Ports that remember: what unfinished backups have stored, how runs ended, what a monitor sees."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from holdfast.model.backup import Buffer, Manifest, Part
from holdfast.model.values import Count, Line, Lines, Moment, Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """A backup that was begun: what it saw, and the parts that it has stored so far."""

    job: Line
    name: Line
    run_id: Line
    database: Line
    snapshot: Line
    started_at: Moment
    snapshot_at: Moment
    parts: tuple[Part, ...] = ()
    recipients: Lines = ()

    @property
    def backup_id(self) -> str:
        return f"{self.job}/{self.name}"


class Journal(Protocol):
    """What unfinished backups have stored, so that a later run may go on; survives a crash."""

    def begin(self, unfinished: Unfinished) -> None:
        """Forget what was known of this job and database, and know this."""
        ...

    def add(self, job: str, database: str, part: Part) -> None:
        """One part more is stored; called from worker threads, one call at a time."""
        ...

    def read(self, job: str, database: str) -> Unfinished | None: ...

    def unfinished(self, job: str) -> list[Unfinished]:
        """All of this job, whatever their database; those that cannot be read are left out."""
        ...

    def end(self, job: str, database: str) -> None:
        """Forget it: the backup is finished, or its parts are gone."""
        ...


class FileLists(Protocol):
    """The list of files in the newest backup of each job that seals what this host cannot open
    again: its next incremental backup has to be asked for with it."""

    def offer(self, job: str, chunks: Iterable[Buffer]) -> None:
        """Write down the list of a backup that is not finished yet."""
        ...

    def settle(self, job: str) -> None:
        """The backup is finished: what was offered, if anything, is the list from now on."""
        ...

    def open(self, job: str) -> AbstractContextManager[Iterator[bytes]]:
        """The list; nothing where there is none."""
        ...


class KnownClusters(Protocol):
    """Clusters by their system identifiers that were found to be those of a job."""

    def __contains__(self, cluster: object) -> bool: ...

    def add(self, cluster: str, /) -> None:
        """Never raises: what is not remembered is looked up again."""
        ...


class Gauges(Protocol):
    """Where numbers about runs are left for a monitor; never fails a run."""

    def show_backup(self, manifest: Manifest) -> None: ...

    def show_run(self, run: RunRecord, *, skipped_in_a_row: int) -> None: ...

    def check(self) -> str:
        """Where the numbers go, empty where nowhere; raises `ConfigInvalid` where they cannot."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """How one run of a job ended, good or bad, for `status` and for alarms."""

    job: Line
    run_id: Line
    outcome: Line
    started_at: Moment
    finished_at: Moment
    backup: Line = ""
    error: Text = ""
    hint: Text = ""
    exit_code: Count = 0
    facts: dict[str, str] = field(default_factory=dict)


class RunHistory(Protocol):
    """The memory of past runs on this host."""

    def record(self, run: RunRecord) -> None: ...

    def last(self, job: str, *, count: int) -> list[RunRecord]:
        """The newest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reread:
    """When an object was last read back, and what was wrong with it; empty where nothing was.

    What is sealed may be compared as it is stored without being `opened`.
    """

    at: datetime
    problem: str = ""
    opened: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """What this host has read of one backup: how many of its parts, since when, and how many of
    them were bad. `restored_at` is when all of it was last restored."""

    parts: int = 0
    bad: int = 0
    since: datetime | None = None
    restored_at: datetime | None = None


class VerificationLog(Protocol):
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

    def restored(self, backup_id: str, *, at: datetime) -> None:
        """Remember that all of it was brought back."""
        ...

    def read_back(self, job: str) -> dict[str, ReadBack]:
        """By the backups of `job`, or of all where it is empty; never makes what is not there."""
        ...

    def forget(self, backup_id: str) -> None: ...

    def unreferenced(
        self, job: str, keys: Collection[str], *, now: datetime
    ) -> dict[str, datetime]:
        """Since when each of `keys` is unreferenced, `now` where that is new; others are not."""
        ...
