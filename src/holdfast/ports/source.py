"""The ports to a database that is backed up: the source, its snapshot, its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from holdfast.model.backup import (
    Buffer,
    Consistency,
    Manifest,
    Member,
    Part,
    PartPlan,
    Relation,
    Server,
)
from holdfast.model.restore import OpenPart


class PartStream(Protocol):
    """The plain bytes of one part; the rest is known once they have all been read."""

    @property
    def rows(self) -> int | None: ...

    @property
    def members(self) -> Sequence[Member]:
        """The tables of a part that holds several; their `plain_bytes` add up to no more."""
        ...

    def __iter__(self) -> Iterator[Buffer]: ...


class CompressionStage(Protocol):
    """Plain buffers in, compressed ones out, as a stage of the pipeline."""

    def feed(self, chunk: Buffer) -> Iterable[Buffer]: ...

    def finish(self) -> Iterable[Buffer]: ...


@runtime_checkable
class SelfCompressing(Protocol):
    """A part stream whose plain bytes its source has compressed, by a program of the host say."""

    @property
    def compression(self) -> CompressionStage:
        """Writes the job's codec at the job's level; ended and reaped with the stream's block."""
        ...


@runtime_checkable
class Memorable(Protocol):
    """A part stream of which a later run has to know more than what is stored of it."""

    @property
    def memo(self) -> str:
        """Becomes `Part.memo`; asked for once all has been read."""
        ...


@runtime_checkable
class Checksummed(Protocol):
    """A part stream of a table whose content the server has summed up in the same snapshot.

    Where a part holds several tables, each has its own in `Member.checksum`.
    """

    @property
    def checksum(self) -> str:
        """As `holdfast.model.checksums` has it, or empty; becomes `Part.checksum` once all was
        read."""
        ...


class Blobs(Protocol):
    """Where long values are kept beside the parts, each once, named by its SHA-256."""

    def keep(self, sha256: str, size_bytes: int, read: Callable[[], Iterable[Buffer]]) -> None:
        """Have the value kept; `read` is only called where it is not kept already.

        What is kept already is read back and proven first. Called from worker threads.
        Raises what `Repository.put` raises, and `BackupFailed` where `read` brings other bytes.
        """
        ...


class Snapshot(Protocol):
    """One moment of a database, held open by as many sessions as there are workers."""

    @property
    def server(self) -> Server: ...

    @property
    def consistency(self) -> Consistency: ...

    @property
    def taken_at(self) -> datetime: ...

    @property
    def proof(self) -> dict[str, str]:
        """Evidence that all sessions see the same moment, in the server's own words."""
        ...

    @property
    def tools(self) -> dict[str, str]:
        """Programs used and their versions."""
        ...

    @property
    def parts(self) -> Sequence[PartPlan]:
        """Every part, biggest first; together they are the whole database."""
        ...

    def read(self, part: PartPlan) -> AbstractContextManager[PartStream]:
        """Stream one part; called from up to `workers` threads at a time.

        Leaving the block early ends the server's work on it. Raises `SnapshotLost` where
        the session is gone: never a quiet reconnect. Every child process is reaped on exit.
        """
        ...

    def abort(self) -> None:
        """End all reads under way; from any thread, more than once, never raises."""
        ...


@runtime_checkable
class Closing(Protocol):
    """A snapshot that has more to keep once all of its parts are kept."""

    def closing_parts(self, stored: Sequence[Part]) -> Sequence[PartPlan]:
        """End what the server holds open for us; what `read` has for us after that. Once.

        Raises what became of the snapshot, where `stored` is worth nothing without it.
        """
        ...


@runtime_checkable
class Continuing(Protocol):
    """A snapshot whose parts depend on what an earlier run has stored of it."""

    def go_on_from(self, stored: Sequence[Part]) -> None:
        """Leave those parts as they are, and have `parts` name all others around them. First."""
        ...


@runtime_checkable
class Lasting(Protocol):
    """A snapshot that may be held by another process, and then outlives this one."""

    def let_go(self, *, finished: bool) -> None:
        """Nobody will rejoin it: there is a backup, or nothing to go on with. Never raises.

        Leaving the block of `Source.open` is not enough: whoever resumes would find it gone.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePlan:
    """What would be done with one table, and why."""

    relation: Relation
    estimated_bytes: int
    estimated_rows: int
    method: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlan:
    """What a backup would do."""

    server: Server
    tables: tuple[TablePlan, ...]
    consistency: Consistency
    notes: tuple[str, ...] = ()

    @property
    def estimated_bytes(self) -> int:
        return sum(table.estimated_bytes for table in self.tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at before starting; `problem` is empty where all is well."""

    subject: str
    detail: str
    problem: str = ""
    hint: str = ""


class Source(Protocol):
    """A database that can be backed up, or a server with several of them."""

    engine: str

    @property
    def database(self) -> str:
        """The name of the database, for messages and records."""
        ...

    def databases(self) -> Sequence[Source]:
        """Each database that the job covers, as a source of its own; `self` where it is one.

        Raises what `check` raises.
        """
        ...

    def lag_seconds(self) -> float | None:
        """How far the server, or the standby furthest behind it, lags; None without replication.

        Never raises: what cannot be seen is None.
        """
        ...

    def check(self) -> list[Finding]:
        """Log in and look: version, grants, tools, connections.

        Raises `DatabaseUnreachable`, `AccessDenied`, `GrantMissing`, `ToolMissing`, `Unsupported`:
        the first one found, and nothing is changed.
        """
        ...

    def connections_free(self) -> int:
        """How many more sessions the server would give us now."""
        ...

    def plan(self) -> SourcePlan:
        """Say what a backup would do, without taking a snapshot."""
        ...

    def open(
        self, *, workers: int, blobs: Blobs | None = None, rejoin: str = ""
    ) -> AbstractContextManager[Snapshot]:
        """Take one snapshot seen by `workers` sessions; leaving ends all of them.

        Reading its parts hands long values to `blobs`; without it they stay in the rows.
        `rejoin` names a snapshot (its proof's `snapshot`) that somebody else still holds, to be
        seen instead of a new one. Raises `SnapshotLost` where nobody does.

        Raises what `check` raises.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierBackup:
    """The good backups of a job that can be restored as they are, newest first."""

    manifests: Callable[[], Sequence[Manifest]]
    open_part: OpenPart


@runtime_checkable
class IncrementalSource(Protocol):
    """A source that can copy no more than what changed since an earlier backup."""

    def after(self, earlier: EarlierBackup) -> Source:
        """The same source, whose snapshots may name one of `earlier` as their `parent`."""
        ...


@runtime_checkable
class Listing(Protocol):
    """A snapshot whose list of files the next backup goes on from."""

    def listing(self) -> Iterable[Buffer] | None:
        """The list once all was read; None where nobody will ask for it."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A snapshot with something to say of itself in the manifest, once all of it was read."""

    @property
    def notes(self) -> Sequence[str]: ...
