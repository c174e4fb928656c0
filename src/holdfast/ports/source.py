"""The ports to a database that is backed up: the source, its snapshot, its parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

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
from holdfast.model.proof import Proof
from holdfast.model.restore import OpenPart
from holdfast.model.wal_archive import Archiver
from holdfast.ports.port import Port


class CompressionStage(Protocol):
    """Plain buffers in, compressed ones out, as a stage of the pipeline."""

    def feed(self, chunk: Buffer) -> Iterable[Buffer]: ...

    def finish(self) -> Iterable[Buffer]: ...


class PartStream(Port, ABC):
    """The plain bytes of one part; the rest is known once they have all been read."""

    __slots__ = ()

    @abstractmethod
    def __iter__(self) -> Iterator[Buffer]: ...

    @property
    def rows(self) -> int | None:
        """How many rows they are; None where the part has no rows, or nobody counts them."""
        return None

    @property
    def members(self) -> Sequence[Member]:
        """The tables of a part that holds several; their `plain_bytes` add up to no more."""
        return ()

    @property
    def memo(self) -> str:
        """What a later run has to know of the part besides; becomes `Part.memo`."""
        return ""

    @property
    def checksum(self) -> str:
        """The content of the part's one table as the server has summed it up in the same snapshot,
        in the way of `holdfast.model.checksums`; becomes `Part.checksum`. Empty where it has not.

        Where a part holds several tables, each has its own in `Member.checksum`.
        """
        return ""

    @property
    def compression(self) -> CompressionStage | None:
        """What compresses the plain bytes with the job's codec at the job's level, by a program of
        the host say; ended and reaped with the stream's block. None leaves it to the pipeline."""
        return None

    def close(self) -> None:
        """End the server's work on what was not read; more than once."""
        return


class ForwardingStream(PartStream):
    """All of another stream; whoever wraps one overrides what he changes."""

    def __init__(self, stream: PartStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[Buffer]:
        return iter(self._stream)

    @property
    def rows(self) -> int | None:
        return self._stream.rows

    @property
    def members(self) -> Sequence[Member]:
        return self._stream.members

    @property
    def memo(self) -> str:
        return self._stream.memo

    @property
    def checksum(self) -> str:
        return self._stream.checksum

    @property
    def compression(self) -> CompressionStage | None:
        return self._stream.compression

    def close(self) -> None:
        self._stream.close()


class Blobs(Protocol):
    """Where long values are kept beside the parts, each once, named by its SHA-256."""

    def keep(self, sha256: str, size_bytes: int, read: Callable[[], Iterable[Buffer]]) -> None:
        """Have the value kept; `read` is only called where it is not kept already.

        What is kept already is read back and proven first. Called from worker threads.
        Raises what `Repository.put` raises, and `BackupFailed` where `read` brings other bytes.
        """
        ...


class Snapshot(Port, ABC):
    """One moment of a database, held open by as many sessions as there are workers."""

    __slots__ = ()

    @property
    @abstractmethod
    def server(self) -> Server: ...

    @property
    @abstractmethod
    def consistency(self) -> Consistency: ...

    @property
    @abstractmethod
    def taken_at(self) -> datetime: ...

    @property
    @abstractmethod
    def proof(self) -> Proof:
        """Evidence that all sessions see the same moment, in the server's own words."""

    @property
    @abstractmethod
    def parts(self) -> Sequence[PartPlan]:
        """Every part, biggest first; together they are the whole database."""

    @abstractmethod
    def read(self, part: PartPlan) -> AbstractContextManager[PartStream]:
        """Stream one part; called from up to `workers` threads at a time.

        Leaving the block early ends the server's work on it. Raises `SnapshotLost` where
        the session is gone: never a quiet reconnect. Every child process is reaped on exit.
        """

    @abstractmethod
    def abort(self) -> None:
        """End all reads under way; from any thread, more than once, never raises."""

    @property
    def tools(self) -> dict[str, str]:
        """Programs used and their versions; none where the snapshot needs no program."""
        return {}

    @property
    def notes(self) -> Sequence[str]:
        """What it has to say of itself in the manifest, once all of it was read."""
        return ()

    def go_on_from(self, stored: Sequence[Part]) -> None:
        """Leave what an earlier run has stored as it is, and have `parts` name all others around
        it. First. Does nothing where no part depends on what is stored of the others."""
        return

    def closing_parts(self, stored: Sequence[Part]) -> Sequence[PartPlan]:
        """End what the server holds open for us; what `read` has for us after that. Once, and none
        where all of it was in `parts`.

        Raises what became of the snapshot, where `stored` is worth nothing without it.
        """
        return ()

    def listing(self) -> Iterable[Buffer] | None:
        """The list of files that the next backup goes on from, once all was read; None where
        nobody will ask for it."""
        return None

    def let_go(self, *, finished: bool) -> None:
        """Nobody will rejoin it: there is a backup, or nothing to go on with. Never raises.

        Leaving the block of `Source.open` is not enough where another process holds it: whoever
        resumes would find it gone. Does nothing where nobody else holds it.
        """
        return


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


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierBackup:
    """The good backups of a job that can be restored as they are, newest first."""

    manifests: Callable[[], Sequence[Manifest]]
    open_part: OpenPart


class Source(Port, ABC):
    """A database that can be backed up, or a server with several of them."""

    __slots__ = ()

    @property
    @abstractmethod
    def engine(self) -> str:
        """How it is read, as the configuration calls it."""

    @property
    @abstractmethod
    def database(self) -> str:
        """The name of the database, for messages and records."""

    @abstractmethod
    def check(self) -> list[Finding]:
        """Log in and look: version, grants, tools, connections.

        Raises `DatabaseUnreachable`, `AccessDenied`, `GrantMissing`, `ToolMissing`, `Unsupported`:
        the first one found, and nothing is changed.
        """

    @abstractmethod
    def connections_free(self) -> int:
        """How many more sessions the server would give us now."""

    @abstractmethod
    def plan(self) -> SourcePlan:
        """Say what a backup would do, without taking a snapshot."""

    @abstractmethod
    def open(
        self, *, workers: int, blobs: Blobs | None = None, rejoin: str = ""
    ) -> AbstractContextManager[Snapshot]:
        """Take one snapshot seen by `workers` sessions; leaving ends all of them.

        Reading its parts hands long values to `blobs`; without it they stay in the rows.
        `rejoin` names a snapshot (its proof's `snapshot`) that somebody else still holds, to be
        seen instead of a new one. Raises `SnapshotLost` where nobody does.

        Raises what `check` raises.
        """

    def databases(self) -> Sequence[Source]:
        """Each database that the job covers, as a source of its own; itself where it is one.

        Raises what `check` raises.
        """
        return [self]

    def lag_seconds(self) -> float | None:
        """How far the server, or the standby furthest behind it, lags; None without replication.

        Never raises: what cannot be seen is None.
        """
        return None

    def after(self, earlier: EarlierBackup) -> Source:
        """The same source, whose snapshots may name one of `earlier` as their `parent`; itself
        where it copies everything each time."""
        return self

    def archiver(self) -> Archiver | None:
        """How its server archives WAL; None where the source is not of a server that does.

        Raises `DatabaseUnreachable`, `AccessDenied`, `GrantMissing`.
        """
        return None
