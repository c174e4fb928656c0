"""A MariaDB server as `mariadb-backup` copies its files: all databases, one stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from holdfast.model.backup import Consistency, Relation
from holdfast.model.errors import SnapshotLost
from holdfast.ports.source import Blobs, Finding, SourcePlan, TablePlan
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.clock import now
from holdfast.sources.mysql.dump.programs import Program, find_backup
from holdfast.sources.mysql.files import server_files
from holdfast.sources.mysql.files.file_copy import MOST_THREADS, PhysicalSnapshot
from holdfast.sources.mysql.files.server_files import ServerFiles
from holdfast.sources.mysql.rows.source import MysqlSource
from holdfast.sources.mysql.server import privileges
from holdfast.sources.mysql.server.address import Address
from holdfast.sources.mysql.server.session import Session, session
from holdfast.sources.mysql.server.version import ServerVersion

# What the records call the database of a backup that holds all of them.
WHOLE_SERVER = "all-databases"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    edition: ServerVersion
    program: Program
    files: ServerFiles


class MysqlPhysicalSource:
    """Obeys `ports.source.Source`; the database in `dsn` is only where we log in."""

    engine = "tools"
    database = WHOLE_SERVER

    def __init__(
        self,
        dsn: str,
        *,
        password: str | None = None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._address = Address.parse(dsn, password=password)
        self._native = MysqlSource(dsn, password=password)
        self._clock = clock

    def databases(self) -> Sequence[MysqlPhysicalSource]:
        return [self]

    def lag_seconds(self) -> float | None:
        return self._native.lag_seconds()

    def connections_free(self) -> int:
        return self._native.connections_free()

    def check(self) -> list[Finding]:
        with session(self._address) as asking:
            found = self._examined(asking)
            login = asking.value("SELECT CURRENT_USER()")
        files = found.files
        return [
            Finding(subject="server", detail=f"{found.edition.kind} {found.edition.version}"),
            Finding(subject="login", detail=login),
            Finding(subject="grants", detail="all that copying its files needs"),
            Finding(subject="files", detail=f"'{files.folder}' can be read, {files.size_bytes} B"),
            Finding(subject="tool", detail=f"{found.program.path} {found.program.version}"),
        ]

    def plan(self) -> SourcePlan:
        with session(self._address) as asking:
            found = self._examined(asking)
        everything = TablePlan(
            relation=Relation(schema="*", name="*"),
            estimated_bytes=found.files.size_bytes,
            estimated_rows=0,
            method=found.program.name,
            reason="the whole server, file by file, in one stream",
        )
        return SourcePlan(
            server=found.edition.server(WHOLE_SERVER),
            tables=(everything,),
            consistency=Consistency.SNAPSHOT,
            notes=("all databases are as of the end of the copy",),
        )

    @contextmanager
    def open(
        self,
        *,
        workers: int,
        blobs: Blobs | None = None,  # noqa: ARG002  # files hold all of their values
        rejoin: str = "",
    ) -> Iterator[PhysicalSnapshot]:
        if rejoin:
            raise SnapshotLost("a copy of the server's files cannot be gone on with half way")
        with session(self._address) as asking:
            found = self._examined(asking)
        snapshot = PhysicalSnapshot(
            server=found.edition.server(WHOLE_SERVER),
            address=self._address,
            program=found.program,
            files=found.files,
            threads=min(workers, MOST_THREADS),
            clock=self._clock,
            taken_at=self._clock(),
        )
        with afterwards(snapshot.abort):
            yield snapshot

    def _examined(self, asking: Session) -> _Found:
        edition = ServerVersion.of(asking)
        server_files.require_mariadb(edition)
        program = find_backup(edition)
        privileges.require(asking, server_files.RIGHTS, "the server")
        server_files.require_no_limit(asking)
        return _Found(
            edition=edition, program=program, files=server_files.find(asking, self._address)
        )
