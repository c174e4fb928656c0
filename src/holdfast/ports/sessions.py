"""Database sessions that outlive whoever asked for them: their nouns, and the port to a server.

A base backup of PostgreSQL lives as long as the one session that began it; so does an exported
snapshot. Whoever holds such a session for others needs to know when it is still worth something.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

RUN_LABEL = "holdfast"
"""What a run of a job calls its sessions; whoever begins one by hand calls it otherwise."""


class HeldKind(StrEnum):
    """What a session is held for."""

    BACKUP = "backup"
    SNAPSHOT = "snapshot"


class HeldState(StrEnum):
    """How a held session is; only `open` is of any use to a copy under way."""

    OPEN = "open"
    ENDED = "ended"
    ABORTED = "aborted"
    EXPIRED = "expired"
    LOST = "lost"
    CORRUPT = "corrupt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """What a server must still be for a session of it to count."""

    system_identifier: str
    timeline: int
    started_at: datetime
    is_standby: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What the server said when the session began.

    `start_lsn` and `start_wal_file` are of a backup, `snapshot` is the name of an exported one;
    `slot` keeps the WAL from `start_lsn` on for as long as the session lasts, where there is one.
    """

    kind: HeldKind
    anchor: Anchor
    begun_at: datetime
    backend_pid: int
    start_lsn: str = ""
    start_wal_file: str = ""
    snapshot: str = ""
    slot: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What the server said when a backup ended; all empty for a snapshot."""

    stop_lsn: str = ""
    backup_label: str = ""
    tablespace_map: str = ""


class Holding(Protocol):
    """One session that is held; one thread at a time."""

    @property
    def begun(self) -> Begun: ...

    @property
    def session_id(self) -> str:
        """What another process joins it by; empty where it lives and dies with this one."""
        ...

    @property
    def ended(self) -> Ended | None:
        """What the server said at the end, where that came before this one joined."""
        ...

    def look(self) -> None:
        """Keep it alive, and make sure that it still counts.

        Raises `SessionCorrupt` where the server was restarted, promoted or replaced, and
        `SessionLost` where the session is gone: both for good. Raises `DatabaseUnreachable`
        where the session is gone and the server does not say why, so that a later look may.
        """
        ...

    def end(self) -> Ended:
        """End the backup, or what the snapshot is held for; raises what `look` raises. Not twice.

        The session itself, and the slot that keeps the WAL, stay until `abort`.
        """
        ...

    def abort(self) -> None:
        """Have the server forget it; more than once, never raises."""
        ...


class Holder(Protocol):
    """Where sessions of one server come from."""

    @property
    def server(self) -> str:
        """The server's address, which the limit of sessions goes by."""
        ...

    def begin(self, kind: HeldKind, *, label: str, fast: bool, database: str = "") -> Holding:
        """Begin a backup or export a snapshot; `fast` does not wait for a spread checkpoint.

        A snapshot is of `database`, or of the one that the login names. Raises
        `DatabaseUnreachable`, `AccessDenied`, `GrantMissing`, `BackupFailed`.
        """
        ...

    def join(self, session_id: str) -> Holding:
        """The session that was begun under that id, open, or ended as `ended` says.

        Raises `SessionNotFound`, `SessionLost`, `SessionExpired`, `SessionCorrupt`.
        """
        ...

    def left(self) -> Sequence[str]:
        """The sessions that runs of this job have begun and not ended, and that outlive them.

        For whoever holds the job: all of them are then of runs that are dead. Raises
        `SessionDaemonUnreachable`, `SessionRefused`.
        """
        ...

    def forget(self, session_id: str) -> None:
        """End what nobody will join any more, on the server too; raises what `left` raises."""
        ...


class Bracketed(Protocol):
    """A base backup that is open while somebody else copies the cluster, all of it at once."""

    @property
    def holding(self) -> Holding: ...

    @property
    def data(self) -> str:
        """The data directory."""
        ...

    @property
    def tablespaces(self) -> Mapping[str, str]:
        """Where each tablespace is, by its oid."""
        ...

    def end(self, folder: str) -> Ended:
        """End the backup, and write what the copy needs into `folder`: `backup_label`,
        `tablespace_map` where there are tablespaces, and `pg_wal/` with the WAL in between.

        Raises what `Holding.end` raises, and `BackupFailed`.
        """
        ...


class Bracket(Protocol):
    """A cluster that can be copied by others, on this host."""

    def open(self, label: str) -> AbstractContextManager[Bracketed]:
        """Begin a base backup at once; it is ended on the server when the block is left.

        Raises what `Holder.begin` raises, and `Unsupported`.
        """
        ...
