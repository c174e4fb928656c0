"""Ports to what a host remembers: unfinished backups, run history, verification log, metrics."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from holdfast.model.backup import Buffer, Manifest, Part
from holdfast.model.lazy_dataclass import dataclass, field
from holdfast.model.values import Count, Line, Lines, Moment, Text

if TYPE_CHECKING:
    from holdfast.model.drill import DrillRecord
    from holdfast.model.host_status import HostStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """A backup that was begun and not finished: its snapshot, and the parts stored so far.

    `memo` is that of the snapshot.
    """

    job: Line
    name: Line
    run_id: Line
    database: Line
    snapshot: Line
    started_at: Moment
    snapshot_at: Moment
    parts: tuple[Part, ...] = ()
    recipients: Lines = ()
    memo: str = ""

    @property
    def backup_id(self) -> str:
        return f"{self.job}/{self.name}"


class Journal(Protocol):
    """Records the parts that unfinished backups stored, so that a later run can resume; survives a
    crash."""

    def begin(self, unfinished: Unfinished) -> None:
        """Replace the record of this job and database with `unfinished`."""
        ...

    def add(self, job: str, database: str, part: Part) -> None:
        """Record one more stored part; called from worker threads, one call at a time."""
        ...

    def read(self, job: str, database: str) -> Unfinished | None: ...

    def unfinished(self, job: str) -> list[Unfinished]:
        """All unfinished backups of the job, of any database; unreadable records are left out."""
        ...

    def end(self, job: str, database: str) -> None:
        """Remove the record: the backup is finished, or its parts are gone."""
        ...


class FileLists(Protocol):
    """The file list of the newest backup of each job that encrypts for recipients.

    This host cannot decrypt the list in the backup, and the next incremental backup needs it.
    """

    def offer(self, job: str, chunks: Iterable[Buffer]) -> None:
        """Store the list of a backup that is not finished yet."""
        ...

    def settle(self, job: str) -> None:
        """Make the offered list, if there is one, the job's list, as the backup is finished."""
        ...

    def open(self, job: str) -> AbstractContextManager[Iterator[bytes]]:
        """The chunks of the job's list; empty where there is none."""
        ...


class KnownClusters(Protocol):
    """The system identifiers of clusters that were found to belong to a job."""

    def __contains__(self, cluster: object) -> bool: ...

    def add(self, cluster: str, /) -> None:
        """Remember a cluster; never raises, as a forgotten one is looked up again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """How a verification of a job ended.

    `bad` are the parts, and files of the WAL, that it found damaged or missing. `damaged_backups`
    are the backups that are known to be damaged, also from earlier verifications.
    """

    job: str
    at: datetime
    exit_code: int
    bad: int
    damaged_backups: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WalReach:
    """How far the archived WAL of a job reached when somebody looked, at `at`.

    `archived_at` is when its newest segment was archived. `gaps` are those after the newest backup.
    """

    job: str
    at: datetime
    archived_at: datetime | None
    gaps: int


class Gauges(Protocol):
    """Publishes metrics about runs and drills for a monitor; never fails them."""

    @property
    def are_shown(self) -> bool:
        """Whether anybody gets them; if not, nothing has to be measured for them."""
        ...

    def show_backup(self, manifest: Manifest) -> None: ...

    def show_run(self, run: RunRecord, *, skipped_in_a_row: int) -> None: ...

    def show_drill(
        self, record: DrillRecord, *, exit_code: int, measures_loss: bool = True
    ) -> None:
        """With `measures_loss` it restored all that there was when it began."""
        ...

    def show_verified(self, verified: Verified) -> None: ...

    def show_wal(self, reach: WalReach) -> None: ...

    def show_room(self, job: str, free_bytes: int) -> None:
        """The free space of the job's repository."""
        ...

    def show_notifications(self, unsent: Mapping[str, int]) -> None:
        """How many notifications could not be sent so far, by receiver."""
        ...

    def show_overdue(self, jobs: Mapping[str, bool]) -> None:
        """Whether each job has made no good backup for too long."""
        ...

    def check(self) -> str:
        """Where the metrics go, empty where nowhere; raises `ConfigInvalid` where they cannot."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """How one run of a job ended, for `status` and for alarms."""

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


def skipped_in_a_row(newest_first: Sequence[RunRecord]) -> int:
    """How many runs, counted back from the newest, were skipped because another one was running."""
    for count, run in enumerate(newest_first):
        if run.outcome != "skipped":
            return count
    return len(newest_first)


class RunHistory(Protocol):
    """The past runs of each job on this host."""

    def record(self, run: RunRecord) -> None: ...

    def last(self, job: str, *, count: int) -> list[RunRecord]:
        """At most `count` runs, newest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reread:
    """When an object was last read back, and its `problem`; empty where the reading was good.

    A sealed object can be compared in its stored form, without being `opened`.
    """

    at: datetime
    problem: str = ""
    opened: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """What this host read back of one backup: how many `parts`, since when, and how many were bad.

    `keys_fingerprint` is that of their keys, `unopened` how many were only compared in their stored
    form. `restored_at` is when the whole backup was last restored.
    """

    parts: int = 0
    bad: int = 0
    unopened: int = 0
    keys_fingerprint: str = ""
    since: datetime | None = None
    restored_at: datetime | None = None


class VerificationLog(Protocol):
    """When this host read back each object, and since when each blob is unreferenced.

    It may be lost at any time: then no object counts as read, and each unreferenced blob counts
    as just found.
    """

    def reread(self, backup_id: str, key: str, found: Reread) -> None:
        """Replace the last reading of `key` with `found`; from worker threads.

        A bad reading that opened the object stays until a good one opens it as well.
        """
        ...

    def of(self, backup_id: str) -> dict[str, Reread]:
        """The last reading of each object of a backup, by key."""
        ...

    def damaged(self, job: str) -> set[str]:
        """The backups with an object whose last reading was bad."""
        ...

    def restored(self, backup_id: str, *, at: datetime) -> None:
        """Record that the whole backup was restored."""
        ...

    def read_back(self, job: str) -> dict[str, ReadBack]:
        """What was read back, by backup of `job`, or of all jobs where it is empty.

        It never creates a log that does not exist.
        """
        ...

    def forget(self, backup_id: str) -> None: ...

    def keep_only(self, backup_id: str, keys: Collection[str]) -> None:
        """Forget the readings of every object under that id whose key is not among `keys`."""
        ...

    def unreferenced(
        self, job: str, keys: Collection[str], *, now: datetime
    ) -> dict[str, datetime]:
        """Since when each of `keys` is unreferenced: `now` for a key that is new.

        All other keys of the job count as referenced from now on.
        """
        ...


class LastStatus(Protocol):
    """The status of each job as this host last told it."""

    def replaced(self, job: str, change: Callable[[HostStatus | None], HostStatus]) -> HostStatus:
        """Remember `change` of the last status, one process at a time; returns it.

        It is returned as well if it could not be remembered.
        """
        ...
