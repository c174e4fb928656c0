"""Held database sessions, which outlive the process that asked for them, and the port to a server.

A base backup of PostgreSQL lives as long as the one session that began it; so does an exported
snapshot. The process that holds such a session must know whether it is still valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from holdfast.model.lazy_dataclass import dataclass

RUN_LABEL = "holdfast"
"""The label of sessions that a run of a job begins; sessions begun by hand have other labels."""


class HeldKind(StrEnum):
    """What a session is held for."""

    BACKUP = "backup"
    SNAPSHOT = "snapshot"


class HeldState(StrEnum):
    """The state of a held session; a copy in progress can use only an `open` one."""

    OPEN = "open"
    ENDED = "ended"
    ABORTED = "aborted"
    EXPIRED = "expired"
    LOST = "lost"
    CORRUPT = "corrupt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """What must not change on a server for its held session to stay valid."""

    system_identifier: str
    timeline: int
    started_at: datetime
    is_standby: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What the server reported when the session began.

    `start_lsn` and `start_wal_file` are set for a backup, `snapshot` is the name of an exported
    snapshot. `slot`, if set, is the replication slot that keeps the WAL from `start_lsn` on while
    the session lasts.
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
    """What the server reported when a backup ended; all fields are empty for a snapshot."""

    stop_lsn: str = ""
    backup_label: str = ""
    tablespace_map: str = ""


class Holding(Protocol):
    """One held session; to be used by one thread at a time."""

    @property
    def begun(self) -> Begun: ...

    @property
    def session_id(self) -> str:
        """The id by which another process joins the session; empty where it ends with this
        process."""
        ...

    @property
    def ended(self) -> Ended | None:
        """What the server reported at the end, if the session had ended before we joined it."""
        ...

    def look(self) -> None:
        """Keep the session alive, and check that it is still valid.

        Raises `SessionCorrupt` where the server was restarted, promoted or replaced, and
        `SessionLost` where the session is gone: both are final. Raises `DatabaseUnreachable`
        where the session is gone and the cause is not known yet; a later look may tell.
        """
        ...

    def end(self) -> Ended:
        """End the backup, or the use of the snapshot; raises what `look` raises. To be called once.

        The session itself, and the slot that keeps the WAL, stay until `abort`.
        """
        ...

    def abort(self) -> None:
        """Close the session on the server; may be called more than once, never raises."""
        ...


class Holder(Protocol):
    """Begins and joins held sessions of one server."""

    @property
    def server(self) -> str:
        """The server's address; the limit of sessions applies per address."""
        ...

    def begin(self, kind: HeldKind, *, label: str, fast: bool, database: str = "") -> Holding:
        """Begin a backup or export a snapshot; `fast` does not wait for a spread checkpoint.

        A snapshot shows `database`, by default the one that the login names. Raises
        `DatabaseUnreachable`, `AccessDenied`, `GrantMissing`, `BackupFailed`.
        """
        ...

    def join(self, session_id: str) -> Holding:
        """Join the session with that id, which is open or has `ended`.

        Raises `SessionNotFound`, `SessionLost`, `SessionExpired`, `SessionCorrupt`.
        """
        ...

    def left(self) -> Sequence[str]:
        """The ids of held sessions that runs of this job began and did not end.

        To be called by the run that holds the job: then all of them belong to dead runs. Raises
        `SessionDaemonUnreachable`, `SessionRefused`.
        """
        ...

    def forget(self, session_id: str) -> None:
        """End a session that no run will join, on the server too; raises what `left` raises."""
        ...


class Bracketed(Protocol):
    """An open base backup, during which another program copies the whole cluster at once."""

    @property
    def holding(self) -> Holding: ...

    @property
    def data(self) -> str:
        """The data directory."""
        ...

    @property
    def tablespaces(self) -> Mapping[str, str]:
        """The folder of each tablespace, by its oid."""
        ...

    def end(self, folder: str) -> Ended:
        """End the backup, and write what the copy needs into `folder`: `backup_label`,
        `tablespace_map` where there are tablespaces, and `pg_wal/` with the WAL since the start.

        Raises what `Holding.end` raises, and `BackupFailed`.
        """
        ...


class Bracket(Protocol):
    """A cluster on this host that another program can copy."""

    def open(self, label: str) -> AbstractContextManager[Bracketed]:
        """Begin a base backup at once; leaving the block ends it on the server.

        Raises what `Holder.begin` raises, and `Unsupported`.
        """
        ...
