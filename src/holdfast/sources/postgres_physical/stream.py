"""A cluster over the replication protocol, where its files cannot be read: one pg_basebackup."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from holdfast.errors import SnapshotLost
from holdfast.model import Buffer, Consistency, Member, PartKind, PartPlan, Relation, Server
from holdfast.ports import Blobs, Finding, PartStream, Snapshot, SourcePlan, TablePlan
from holdfast.process import Child, ChildFailed, running
from holdfast.sources.endings import Endings
from holdfast.sources.postgres_native import databases, tools
from holdfast.sources.postgres_native.login import Login
from holdfast.sources.postgres_native.tools import Tool
from holdfast.sources.postgres_physical.stream_facts import SENDERS, StreamFacts, examined, wal_of
from holdfast.sources.postgres_physical.wire_failures import wire_failed

PROGRAM = "pg_basebackup"
PART = "basebackup.tar"
# Where the end of the manifest is, behind which a tar has only its padding.
TAIL_BYTES = 64 << 10
ONE_STREAM = "one stream: the replication protocol knows no parallel copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class BasebackupStream:
    """Obeys `ports.PartStream`: what pg_basebackup writes."""

    child: Child
    wal: dict[str, str]
    """Which WAL the backup spans, known once all of it was read."""
    rows: int | None = None
    members: Sequence[Member] = ()

    def __iter__(self) -> Iterator[Buffer]:
        tail = b""
        try:
            for chunk in self.child.chunks():
                tail = (tail + chunk)[-TAIL_BYTES:]
                yield chunk
            self.wal.update(wal_of(tail) | {"ended_at": datetime.now(UTC).isoformat()})
        except ChildFailed as error:
            raise wire_failed(error, "cannot stream the cluster") from error


@dataclass(frozen=True, kw_only=True)
class StreamSnapshot:
    """Obeys `ports.Snapshot`: its one part begins and ends the base backup itself."""

    found: StreamFacts
    login: Login
    tool: Tool
    argv: Sequence[str]
    taken_at: datetime
    consistency: Consistency = Consistency.SNAPSHOT
    endings: Endings = field(default_factory=Endings)
    wal: dict[str, str] = field(default_factory=dict)

    @property
    def server(self) -> Server:
        return self.found.server

    @property
    def proof(self) -> dict[str, str]:
        return {
            "snapshot": "the run of pg_basebackup",
            "copied_by": ONE_STREAM,
            "system_identifier": self.found.system_identifier,
            **self.wal,
        }

    @property
    def tools(self) -> dict[str, str]:
        return {PROGRAM: self.tool.version}

    @property
    def parts(self) -> Sequence[PartPlan]:
        return [PartPlan(name=PART, kind=PartKind.FILE_PACK, estimated_bytes=self.found.size_bytes)]

    def read(self, part: PartPlan) -> AbstractContextManager[PartStream]:  # noqa: ARG002  # there is one
        return self._stream()

    @contextmanager
    def _stream(self) -> Iterator[PartStream]:
        with (
            running(self.argv, env=self.login.environment()) as child,
            self.endings.registered(child.end),
        ):
            yield BasebackupStream(child=child, wal=self.wal)

    def abort(self) -> None:
        self.endings.abort()


class StreamSource:
    """Obeys `ports.Source`. `fast` does not wait for a spread checkpoint."""

    engine = "tools"

    def __init__(self, *, login: Login, fast: bool = True) -> None:
        self._login = login
        self._fast = fast

    @property
    def database(self) -> str:
        return "cluster"

    def databases(self) -> Sequence[StreamSource]:
        return [self]

    def lag_seconds(self) -> float | None:
        return databases.lag_seconds(self._login)

    def check(self) -> list[Finding]:
        found = self._examined()
        tool = _tool(found)
        return [
            Finding(subject="server", detail=f"PostgreSQL {found.version}"),
            Finding(subject="login", detail=f"'{self._login.user}' may replicate"),
            Finding(subject="tools", detail=f"{PROGRAM} {tool.version}"),
            Finding(subject="wal senders", detail=f"{found.senders_free} free, {SENDERS} needed"),
            Finding(subject="workers", detail=ONE_STREAM),
        ]

    def connections_free(self) -> int:
        """As many as one stream can use."""
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
            raise SnapshotLost("a stream of pg_basebackup cannot be gone on with half way")
        found = self._examined()
        tool = _tool(found)
        snapshot = StreamSnapshot(
            found=found,
            login=self._login,
            tool=tool,
            argv=self._argv(tool),
            taken_at=datetime.now(UTC),
        )
        try:
            yield snapshot
        finally:
            snapshot.abort()

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
        return examined(self._login)


def _tool(found: StreamFacts) -> Tool:
    return tools.find(PROGRAM, found.version_number // 10000, found.version, ())
