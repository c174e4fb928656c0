"""Back up a cluster with one pg_basebackup, for hosts that cannot read the cluster's files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import field, replace
from datetime import UTC, datetime
from itertools import chain

from holdfast.model.backup import Buffer, Consistency, Part, PartKind, PartPlan, Relation, Server
from holdfast.model.errors import SnapshotLost
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.part_details import SecondCopy
from holdfast.model.proof import BaseBackupProof
from holdfast.model.wal import Position
from holdfast.model.wal_archive import Archiver
from holdfast.ports.source import (
    Blobs,
    EarlierBackup,
    Finding,
    PartStream,
    Snapshot,
    Source,
    SourcePlan,
    TablePlan,
)
from holdfast.runtime.cleanup import Cancellation, afterwards
from holdfast.runtime.process import Child, ChildFailed, running
from holdfast.sources.postgres.files import cluster, wal
from holdfast.sources.postgres.files.checksum_results import ChecksumResults
from holdfast.sources.postgres.files.incremental_stream import (
    FileList,
    IncrementalStream,
    following,
    require_summaries,
)
from holdfast.sources.postgres.files.snapshot import MANIFEST_FILE
from holdfast.sources.postgres.files.stream_facts import (
    SENDERS,
    StreamFacts,
    examined,
    wal_of,
    wire_failed,
)
from holdfast.sources.postgres.files.stream_watchers import (
    DatabasesSent,
    StreamPages,
    TarStream,
    Watcher,
    known_databases,
    left_out,
    require_databases,
)
from holdfast.sources.postgres.server import client_programs, preflight
from holdfast.sources.postgres.server.client_programs import Tool
from holdfast.sources.postgres.server.login import Login

PROGRAM = "pg_basebackup"
PART = "basebackup.tar"
# The tail of the stream that is searched for the WAL ranges. They end the manifest, and only the
# padding of the tar follows.
TAIL_BYTES = 64 << 10
# pg_basebackup writes one line to stderr for each file that the server leaves out.
LINES = 1000
ONE_STREAM = "one stream: the replication protocol has no parallel copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class BasebackupStream(PartStream):
    """The tar that pg_basebackup writes; asks for all files if the server refuses the parent."""

    begin: Callable[[Sequence[str]], Child]
    """Starts pg_basebackup with additional arguments; leaving the block of `read` ends it."""
    following: IncrementalStream
    ended: list[BaseBackupProof]
    """The WAL range of the backup, known once the whole stream was read."""
    watchers: Sequence[Watcher]
    omitted: list[str]
    """Notes about what the server did not send, known once the whole stream was read."""

    def __iter__(self) -> Iterator[Buffer]:
        try:
            yield from self._chunks()
        except ChildFailed as error:
            raise wire_failed(error, "cannot stream the cluster") from error

    def _chunks(self) -> Iterator[bytes]:
        child = self.begin(self.following.options)
        chunks = child.chunks()
        try:
            first = next(chunks, b"")
        except ChildFailed as error:
            # Nothing was sent yet, so a full backup can still take the place of this one.
            if not self.following.give_up(error):
                raise
            child = self.begin(self.following.options)
            chunks = child.chunks()
            first = next(chunks, b"")
        tail = b""
        feeds = [self.following.new_list(), *(TarStream(each).feed for each in self.watchers)]
        for chunk in chain([first], chunks):
            tail = (tail + chunk)[-TAIL_BYTES:]
            for feed in feeds:
                feed(chunk)
            yield chunk
        self.omitted.extend(left_out(child.stderr))
        self.ended[:] = [replace(wal_of(tail), ended_at=datetime.now(UTC))]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSnapshot(Snapshot):
    """A snapshot of one part, whose stream begins and ends the base backup.

    The list of its files is stored last: the next incremental backup needs it.
    """

    found: StreamFacts
    login: Login
    tool: Tool
    argv: Sequence[str]
    following: IncrementalStream
    taken_at: datetime = field()
    consistency: Consistency = Consistency.SNAPSHOT
    endings: Cancellation = field(default_factory=Cancellation)
    ended: list[BaseBackupProof] = field(default_factory=list)
    findings: ChecksumResults = field(default_factory=ChecksumResults)
    sent: DatabasesSent = field(default_factory=DatabasesSent)
    omitted: list[str] = field(default_factory=list)

    @property
    def server(self) -> Server:
        return self.found.server

    @property
    def proof(self) -> BaseBackupProof:
        return replace(
            self.ended[0] if self.ended else BaseBackupProof(),
            snapshot="the run of pg_basebackup",
            copied_by=ONE_STREAM,
            system_identifier=self.found.system_identifier,
            parent=self.following.parent,
            bad_pages=self.findings.told_bad,
        )

    @property
    def notes(self) -> Sequence[str]:
        return [*self.following.notes, *self.omitted]

    def listing(self) -> FileList | None:
        return self.following.files if self.following.files.size_bytes else None

    @property
    def tools(self) -> dict[str, str]:
        return {PROGRAM: self.tool.version}

    @property
    def parts(self) -> Sequence[PartPlan]:
        return [PartPlan(name=PART, kind=PartKind.FILE_PACK, estimated_bytes=self.found.size_bytes)]

    def closing_parts(self, stored: Sequence[Part]) -> Sequence[PartPlan]:  # noqa: ARG002  # there is one
        with cluster.session(self.login) as connection:
            still = known_databases(connection).items() & self.found.databases.items()
        require_databases(self.sent.oids, dict(still))
        if self.found.has_checksums and self.proof.stop_lsn:
            self.findings.judge(Position.parse(self.proof.stop_lsn).byte)
            self.findings.tell()
        files = self.listing()
        if files is None:
            return []
        return [
            PartPlan(
                name=MANIFEST_FILE,
                kind=PartKind.CLOSING,
                estimated_bytes=files.size_bytes,
                # A second copy: a restore takes this file from the tar.
                details=SecondCopy(inside=PART),
            )
        ]

    @contextmanager
    def read(self, part: PartPlan) -> Iterator[PartStream]:
        if part.name == MANIFEST_FILE:
            yield self.following.files
            return
        with ExitStack() as stack:

            def begin(options: Sequence[str]) -> Child:
                argv = [*self.argv, *options]
                child = stack.enter_context(
                    running(argv, env=self.login.environment(), stderr_lines=LINES)
                )
                stack.enter_context(self.endings.registered(child.end))
                return child

            # A retry reads the whole stream again: results of a failed one must not count twice.
            self.findings.doubtful.clear()
            self.sent.oids.clear()
            self.omitted.clear()
            yield BasebackupStream(
                begin=begin,
                following=self.following,
                ended=self.ended,
                watchers=self._watchers(),
                omitted=self.omitted,
            )

    def _watchers(self) -> list[Watcher]:
        if not self.found.has_checksums:
            return [self.sent]
        return [self.sent, StreamPages(Position.parse(self.found.lsn).byte, self.findings)]

    def abort(self) -> None:
        self.endings.abort()


class StreamSource(Source):
    """A cluster that is read over the replication protocol.

    `fast` asks for an immediate checkpoint instead of a spread one. At most `incrementals`
    incremental backups follow each full one.
    """

    engine = "tools"

    def __init__(
        self,
        *,
        login: Login,
        fast: bool = True,
        incrementals: int = 0,
        earlier: EarlierBackup | None = None,
    ) -> None:
        self._login = login
        self._fast = fast
        self._incrementals = incrementals
        self._earlier = earlier

    @property
    def database(self) -> str:
        return "cluster"

    def after(self, earlier: EarlierBackup) -> StreamSource:
        return StreamSource(
            login=self._login, fast=self._fast, incrementals=self._incrementals, earlier=earlier
        )

    def lag_seconds(self) -> float | None:
        return preflight.lag_seconds(self._login)

    def check(self) -> list[Finding]:
        found = self._examined()
        tool = _tool(found)
        return [
            Finding(subject="server", detail=f"PostgreSQL {found.version}"),
            Finding(subject="login", detail=f"'{self._login.user}' may replicate"),
            Finding(subject="tools", detail=f"{PROGRAM} {tool.version}"),
            Finding(subject="wal senders", detail=f"{found.senders_free} free, {SENDERS} needed"),
            Finding(subject="workers", detail=ONE_STREAM),
            Finding(subject="incremental", detail=f"at most {self._incrementals} in a row"),
        ]

    def archiver(self) -> Archiver:
        return wal.archiver(self._login)

    def connections_free(self) -> int:
        """Returns `SENDERS`: one stream uses no more, however many are free."""
        self._examined()
        return SENDERS

    def plan(self) -> SourcePlan:
        found = self._examined()
        return SourcePlan(
            server=found.server,
            tables=(
                TablePlan(
                    relation=Relation(schema="files", name=PART),
                    estimated_bytes=found.size_bytes,
                    estimated_rows=0,
                    method=PROGRAM,
                    reason="the whole cluster, in one stream",
                ),
            ),
            consistency=Consistency.SNAPSHOT,
            notes=(ONE_STREAM,),
        )

    @contextmanager
    def open(
        self,
        *,
        workers: int,  # noqa: ARG002  # the protocol has one stream
        blobs: Blobs | None = None,  # noqa: ARG002  # files hold all of their values
        rejoin: str = "",
    ) -> Iterator[Snapshot]:
        if rejoin:
            raise SnapshotLost(
                "cannot resume the backup: pg_basebackup sends the cluster as one stream"
            )
        found = self._examined()
        tool = _tool(found)
        with following(found, self._earlier, most=self._incrementals) as chosen:
            snapshot = StreamSnapshot(
                found=found,
                login=self._login,
                tool=tool,
                argv=self._argv(tool),
                following=chosen,
                taken_at=datetime.now(UTC),
            )
            with afterwards(snapshot.abort):
                yield snapshot

    def _argv(self, tool: Tool) -> list[str]:
        return [
            str(tool.path),
            "--no-password",
            "--pgdata=-",
            "--format=tar",
            # A second stream for WAL cannot share stdout with the files.
            "--wal-method=fetch",
            f"--checkpoint={'fast' if self._fast else 'spread'}",
            "--manifest-checksums=SHA256",
            "--label=holdfast",
            f"--dbname={self._login.conninfo()}",
        ]

    def _examined(self) -> StreamFacts:
        found = examined(self._login)
        if self._incrementals:
            require_summaries(found)
        return found


def _tool(found: StreamFacts) -> Tool:
    return client_programs.find(PROGRAM, found.version_number // 10000, found.version)
