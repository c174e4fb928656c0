"""What operations ask of the world: small protocols whose docstrings are promises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from holdfast.model.backup import Buffer, Consistency, Member, Part, PartPlan, Relation, Server
from holdfast.model.proven import OpenBlob, StoredParts
from holdfast.model.restored import Restored
from holdfast.ports.locks import Hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One object in a repository."""

    key: str
    size_bytes: int
    sha256: str = ""
    """Of its content, in hex, where the store keeps it and gives it with a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Chunks for `Repository.put` that can be read again, so that a failed put may be retried.

    What is known of them beforehand a store can keep with the object: `sha256` in hex.
    """

    size_bytes: int
    sha256: str
    read: Callable[[], Iterable[Buffer]]

    def __iter__(self) -> Iterator[Buffer]:
        return iter(self.read())


class Repository(Protocol):
    """Where objects are kept under `/`-separated keys: each whole or not at all.

    Whatever a store refuses for its own reasons is `RepositoryRefused`.
    """

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        """Keep `chunks` under `key`, all or nothing; durable when this returns.

        Whatever `chunks` raises is raised again and leaves nothing behind.
        Raises `AlreadyStored`, `RepositoryFull`, `RepositoryReadOnly`, `RepositoryUnreachable`.
        """
        ...

    def open(self, key: str) -> AbstractContextManager[Iterator[bytes]]:
        """Read `key` in chunks of at most a few MiB; raises `ObjectMissing`."""
        ...

    def stat(self, key: str) -> Stored:
        """The size of `key`, and its SHA-256 where the store keeps one; raises `ObjectMissing`.

        The fingerprint was right when it was put: only reading proves that it still is.
        """
        ...

    def list(self, prefix: str) -> Iterator[Stored]:
        """Every whole object below `prefix`, in order of key; unfinished puts are not seen."""
        ...

    def delete(self, key: str) -> None:
        """Remove `key`; removing what is not there is no error.

        Raises `RepositoryReadOnly` where the store keeps it: locked, or no right to delete.
        """
        ...

    def sweep(self, prefix: str) -> int:
        """Remove what broken puts left below `prefix`; how many. Only for whoever holds the job."""
        ...

    def free_bytes(self) -> int | None:
        """Room left, or None where the store has no such notion."""
        ...

    def check(self) -> str:
        """Prove that a put and a read work now, and try a delete; raises what they would raise.

        A login that may not delete is no error: the answer says why, and is empty otherwise.
        """
        ...


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
class RestoreRequest:
    """What to bring back and how.

    Where `parts` hold only changes, `earlier` are those of the backups below, the full one first,
    all of a server of `server_version`.
    `data_only` fills tables that stand already. `triggers` are fired by rows that come into
    such tables, foreign keys included. `owners`, `privileges` and `tablespaces` are those of the
    backup.
    With `keep_going` one object that cannot be made does not cost the others.
    `settings` are written for the server of a restored cluster; with a `restore_command` among
    them it recovers by itself.
    """

    parts: tuple[Part, ...]
    earlier: tuple[tuple[Part, ...], ...] = ()
    server_version: str = ""
    tables: tuple[Relation, ...] = ()
    overwrite: bool = False
    globals: bool = False
    workers: int = 1
    data_only: bool = False
    triggers: bool = True
    owners: bool = True
    privileges: bool = True
    tablespaces: bool = True
    keep_going: bool = False
    open_blob: OpenBlob | None = None
    settings: Mapping[str, str] | None = None


class Target(Protocol):
    """A database to restore into."""

    @property
    def name(self) -> str:
        """The target without its secrets, for messages."""
        ...

    def restore(self, request: RestoreRequest, stored: StoredParts, progress: Progress) -> Restored:
        """Bring the parts back in the order of their kinds, data with `workers` sessions.

        Creates the database where it is missing. `progress` wants `part_done` from here only:
        bytes are counted where `stored` reads them. Raises `TargetNotEmpty` unless `overwrite`,
        `RestoreFailed` with the object's name at the first error, unless the request has
        `keep_going`; the server's work has ended and every child process is reaped by then.
        """
        ...


class Progress(Protocol):
    """Somebody who wants to know how far we are; called from worker threads, never blocks."""

    def begin(self, *, total_bytes: int, parts: int) -> None: ...

    def advance(self, size_bytes: int) -> None: ...

    def part_done(self, name: str) -> None: ...


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


Clock = Callable[[], datetime]
"""The time now, with time zone UTC."""
