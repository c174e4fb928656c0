"""The WAL archive of a job: a file with a record is archived, and no other file is."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Protocol

from holdfast.model.backup import Part
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.values import Count, Line, Lines, Moment
from holdfast.model.wal import Position, WalName
from holdfast.model.wal_records import TablespaceMade

_TIMELINE = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedFile:
    """The record of one archived file of the WAL; the record is written last.

    `cluster` is the system identifier of its server. Files of several clusters, such as those
    before and after an upgrade, may have the same names. `switches` of a history file are the
    points where its timeline left others. `tablespaces` are those that a segment creates; None if
    the segment was not searched, or its last record could not be read to the end.
    """

    job: Line
    cluster: Line
    name: Line
    host: Line
    archived_at: Moment
    part: Part
    recipients: Lines = ()
    switches: tuple[Switch, ...] = ()
    tablespaces: tuple[TablespaceMade, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """Where a timeline's history leaves `timeline`, as an LSN such as `0/1A2B3C4D`."""

    timeline: Count
    at: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One file of the WAL in a listing of the repository; without a record it is not archived."""

    cluster: str
    name: WalName
    keys: tuple[str, ...]
    size_bytes: int
    is_archived: bool


# A segment that waits this long is not merely in transit.
LONGEST_WAIT = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archiver:
    """How a server archives its WAL and how far it has come, by its own counts and clock.

    `cluster` is its system identifier, `mode` its archive_mode. `is_told_how` is whether a command
    or a library is set. `waiting` segments are ready to be archived, the oldest since
    `waiting_since`.
    """

    cluster: str
    mode: str
    is_standby: bool
    is_told_how: bool
    archived: int
    last_archived: str
    last_archived_at: datetime | None
    failed: int
    last_failed: str
    last_failed_at: datetime | None
    counted_since: datetime | None
    waiting: int
    waiting_since: datetime | None
    now: datetime

    @property
    def is_at_work(self) -> bool:
        """Whether it archives at all: a standby does so only with `always`."""
        return self.mode == "always" or (self.mode == "on" and not self.is_standby)

    @property
    def problem(self) -> str:
        """Why WAL is not being archived although it should be; empty if there is no problem."""
        if not self.is_at_work:
            return ""
        if not self.is_told_how:
            return f"archive_mode is {self.mode}, but no archive_command or archive_library is set"
        if self._fails:
            since = f" since {_at(self.last_archived_at)}" if self.last_archived_at else ""
            return (
                f"every attempt to archive WAL{since} has failed, the last one for"
                f" '{self.last_failed}' at {_at(self.last_failed_at)}"
            )
        if self.waiting_since and self.now - self.waiting_since >= LONGEST_WAIT:
            return (
                f"{self.waiting} WAL files wait to be archived, the oldest since"
                f" {_at(self.waiting_since)}"
            )
        return ""

    @property
    def told(self) -> str:
        """The state of archiving in words, for when there is no `problem`."""
        if self.mode == "off":
            return "archive_mode is off: without `wal receive`, no point-in-time recovery"
        if not self.is_at_work:
            return f"a standby with archive_mode = {self.mode} archives nothing: its primary does"
        if self.last_archived_at is not None:
            return f"'{self.last_archived}' was archived at {_at(self.last_archived_at)}"
        since = f" since {_at(self.counted_since)}" if self.counted_since else ""
        return f"nothing was archived yet, and nothing failed{since}"

    @property
    def _fails(self) -> bool:
        """Whether the newest attempt failed.

        Moments are compared, because the server's counts may be reset at any time.
        """
        if self.last_failed_at is None:
            return False
        return self.last_archived_at is None or self.last_failed_at > self.last_archived_at


def _at(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}" if moment else ""


class Receiving(Protocol):
    """A running stream of WAL into a folder."""

    @property
    def is_running(self) -> bool: ...

    def finish(self) -> None:
        """Raise the error that ended the stream."""
        ...


class WalStream(Protocol):
    """A server that streams its WAL as it writes it."""

    def cluster(self) -> str:
        """The server's system identifier.

        Raises `DatabaseUnreachable`, `AccessDenied`, `ToolMissing`, and `SlotMissing` if the named
        slot is missing or in use.
        """
        ...

    def receiving(self, folder: str) -> AbstractContextManager[Receiving]:
        """Write segments to `folder`, each under its own name once it is complete.

        Resumes where the newest segment in `folder` ends.
        """
        ...


def switches_in(history: str) -> tuple[Switch, ...]:
    """The switches in a history file, oldest first; malformed lines are skipped."""
    found: list[Switch] = []
    for line in history.splitlines():
        words = line.split("#", 1)[0].split(maxsplit=2)
        # A server never writes more digits; longer numbers come from a damaged disk.
        if len(words) >= 2 and _TIMELINE.fullmatch(words[0]) and Position.is_one(words[1]):
            found.append(Switch(timeline=int(words[0]), at=words[1]))
    return tuple(found)
