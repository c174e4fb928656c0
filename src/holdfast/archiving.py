"""WAL that is kept for a job: its nouns. What has a record is archived, and nothing else is."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from holdfast.model import Count, Line, Lines, Moment, Part
from holdfast.wal import Position, WalName
from holdfast.wal_records import TablespaceMade

_TIMELINE = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedFile:
    """One file of the WAL as it was archived; this is its record, which is written last.

    `cluster` is the system identifier of the server it is of. Files of several clusters, such as
    those before and after an upgrade, may have the same names. `switches` of a history file say
    where its timeline left others. `tablespaces` are those that a segment makes; None where nobody
    has looked, or could not see the end of it.
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
    """Where the history of a timeline leaves `timeline`: an LSN as `0/1A2B3C4D`."""

    timeline: Count
    at: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One file of the WAL as a list of the repository shows it; without a record it is no file."""

    cluster: str
    name: WalName
    keys: tuple[str, ...]
    size_bytes: int
    is_archived: bool


class Receiving(Protocol):
    """A stream of WAL that is written to a folder while it lasts."""

    @property
    def is_running(self) -> bool: ...

    def finish(self) -> None:
        """Raises why it ended."""
        ...


class WalStream(Protocol):
    """A server that sends its WAL as it is written."""

    def cluster(self) -> str:
        """Its system identifier.

        Raises `DatabaseUnreachable`, `AccessDenied`, `ToolMissing`, and `SlotMissing` where the
        slot that was named is not there, or in use.
        """
        ...

    def receiving(self, folder: str) -> AbstractContextManager[Receiving]:
        """Write segments to `folder`, each under its own name once it is whole; go on where the
        newest one there ends."""
        ...


def switches_in(history: str) -> tuple[Switch, ...]:
    """What a history file says, oldest first; lines that say nothing are left out."""
    found: list[Switch] = []
    for line in history.splitlines():
        words = line.split("#", 1)[0].split(maxsplit=2)
        # A server writes no more digits than these; others are what a disk made of them.
        if len(words) >= 2 and _TIMELINE.fullmatch(words[0]) and Position.is_one(words[1]):
            found.append(Switch(timeline=int(words[0]), at=words[1]))
    return tuple(found)
