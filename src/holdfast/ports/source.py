"""The ports to a database that is backed up: the source, its snapshot and its parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from holdfast.model.lazy_dataclass import dataclass
from holdfast.ports.port import Port

if TYPE_CHECKING:
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


class CompressionStage(Protocol):
    """A pipeline stage that takes plain buffers and returns compressed ones."""

    def feed(self, chunk: Buffer) -> Iterable[Buffer]: ...

    def finish(self) -> Iterable[Buffer]: ...


class PartStream(Port, ABC):
    """The plain bytes of one part; its properties are final once all bytes were read."""

    __slots__ = ()

    @abstractmethod
    def __iter__(self) -> Iterator[Buffer]: ...

    @property
    def rows(self) -> int | None:
        """The number of rows; None where the part has no rows or they are not counted."""
        return None

    @property
    def members(self) -> Sequence[Member]:
        """The tables of a part that holds several; the sum of their `plain_bytes` is at most the
        part's."""
        return ()

    @property
    def memo(self) -> str:
        """Further data about the part that a later run needs; becomes `Part.memo`."""
        return ""

    @property
    def checksum(self) -> str:
        """The checksum of the part's one table, which the server computed in the same snapshot.

        Its format is that of `holdfast.model.checksums`; it becomes `Part.checksum`. Empty where
        the server computed none. Where a part holds several tables, each has its own in
        `Member.checksum`.
        """
        return ""

    @property
    def compression(self) -> CompressionStage | None:
        """The stage that compresses the plain bytes with the job's codec and level.

        It may run a program of the host, which ends and is reaped with the stream's block. None
        leaves compression to the pipeline.
        """
        return None

    def close(self) -> None:
        """End the server's work on bytes that were not read; may be called more than once."""
        return


class ForwardingStream(PartStream):
    """Forwards everything to another stream; a wrapper overrides only what it changes."""

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
    """Stores long values beside the parts, each once, under the fingerprint of its content."""

    def keep(self, fingerprint: str, size_bytes: int, read: Callable[[], Iterable[Buffer]]) -> None:
        """Store the value of this fingerprint, which is cryptographic.

        `read` is called only where the value is not stored yet. A value that is stored already is
        read back and verified first. Called from worker threads. Raises what `Repository.put`
        raises, and `BackupFailed` where `read` returns other bytes.
        """
        ...

    def take(self, read: Callable[[], Iterable[Buffer]]) -> tuple[str, int]:
        """Store the value like `keep`; returns its fingerprint and size.

        `read` is called once, or twice for a value that is too long for the memory of a run.
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
        """The server's own evidence that all sessions see the same moment."""

    @property
    @abstractmethod
    def parts(self) -> Sequence[PartPlan]:
        """Every part, biggest first; together they are the whole database."""

    @abstractmethod
    def read(self, part: PartPlan) -> AbstractContextManager[PartStream]:
        """Stream one part; called from up to `workers` threads at a time.

        Leaving the block early ends the server's work on it. Raises `SnapshotLost` where the
        session is gone; it never reconnects silently. Every child process is reaped on exit.
        """

    @abstractmethod
    def abort(self) -> None:
        """End all reads in progress; from any thread, more than once, never raises."""

    @property
    def tools(self) -> dict[str, str]:
        """The programs used, with their versions; empty where the snapshot needs no program."""
        return {}

    @property
    def notes(self) -> Sequence[str]:
        """The snapshot's remarks for the manifest; complete once every part was read."""
        return ()

    @property
    def memo(self) -> str:
        """What `Source.knowing` needs for a run that resumes this one; becomes `Unfinished.memo`.

        Complete before the first part is read; empty where nothing has to be kept.
        """
        return ""

    def go_on_from(self, stored: Sequence[Part]) -> None:
        """Keep the parts that an earlier run stored, and plan the other `parts` around them.

        To be called before `parts` and `read`. Does nothing where no part depends on which others
        are stored.
        """
        return

    def closing_parts(self, stored: Sequence[Part]) -> Sequence[PartPlan]:
        """End what the server holds open for the snapshot; returns the parts to `read` after that.

        Called once; empty where `parts` named everything. Where the snapshot was lost and
        `stored` is useless without it, raises the error that says why.
        """
        return ()

    def listing(self) -> Iterable[Buffer] | None:
        """The list of files that the next incremental backup needs, once every part was read; None
        where no later backup needs one."""
        return None

    def release(self, *, finished: bool) -> None:
        """End a snapshot that another process holds, as no run will rejoin it; never raises.

        The backup is `finished`, or nothing is left to resume. Leaving the block of `Source.open`
        keeps such a snapshot open for a run that resumes. Does nothing where this process holds
        the snapshot itself.
        """
        return


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePlan:
    """How a backup would read one table, and why."""

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
    """The result of one check before a backup; `problem` is empty where the check passed."""

    subject: str
    detail: str
    problem: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierBackup:
    """The restorable backups of a job, newest first, and how to open one of their parts."""

    manifests: Callable[[], Sequence[Manifest]]
    open_part: OpenPart


class Source(Port, ABC):
    """A database that can be backed up, or a server with several of them."""

    __slots__ = ()

    @property
    @abstractmethod
    def engine(self) -> str:
        """How the database is read: the value of `engine` in the configuration."""

    @property
    @abstractmethod
    def database(self) -> str:
        """The name of the database, for messages and records."""

    @abstractmethod
    def check(self) -> list[Finding]:
        """Log in and check version, grants, tools and connections; changes nothing.

        Raises the first problem found: `DatabaseUnreachable`, `AccessDenied`, `GrantMissing`,
        `ToolMissing`, `Unsupported`.
        """

    @abstractmethod
    def connections_free(self) -> int:
        """How many more sessions the server would admit now."""

    @abstractmethod
    def plan(self) -> SourcePlan:
        """Say what a backup would do, without taking a snapshot."""

    @abstractmethod
    def open(
        self, *, workers: int, blobs: Blobs | None = None, rejoin: str = ""
    ) -> AbstractContextManager[Snapshot]:
        """Take one snapshot seen by `workers` sessions; leaving the block ends all of them.

        Reading its parts hands long values to `blobs`; without it they stay in the rows.
        `rejoin` names a snapshot (its proof's `snapshot`) that another process still holds: it is
        read instead of a new one. Raises `SnapshotLost` where no process holds it.

        Raises what `check` raises.
        """

    def databases(self) -> Sequence[Source]:
        """Each database that the job covers, as a source of its own; just this one by default.

        Raises what `check` raises.
        """
        return [self]

    def lag_seconds(self) -> float | None:
        """The replication lag of the server, or of its most lagging standby; None without
        replication.

        Never raises: a lag that cannot be read is None.
        """
        return None

    def after(self, earlier: EarlierBackup) -> Source:
        """This source with snapshots that may name one of `earlier` as their `parent`; unchanged
        where every backup is a full one."""
        return self

    def knowing(self, memo: str) -> Source:
        """This source with the `memo` of the snapshot that it is to rejoin.

        It may be damaged: then everything is asked again. Unchanged where a source keeps nothing
        for runs that resume.
        """
        return self

    def archiver(self) -> Archiver | None:
        """How the server archives WAL; None for a source whose backups need no WAL archive.

        Raises `DatabaseUnreachable`, `AccessDenied`, `GrantMissing`.
        """
        return None
