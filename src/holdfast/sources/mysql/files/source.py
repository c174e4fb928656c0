"""A MariaDB server as `mariadb-backup` copies its files: all databases, one stream."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from holdfast.model.backup import Buffer, Consistency, PartKind, PartPlan, Relation, Server
from holdfast.model.errors import BackupFailed, SnapshotLost
from holdfast.model.part_details import MysqlServerFiles
from holdfast.model.proof import NO_PROOF, MysqlCopyProof, Proof
from holdfast.ports.source import (
    Blobs,
    Finding,
    PartStream,
    Snapshot,
    Source,
    SourcePlan,
    TablePlan,
)
from holdfast.runtime.cleanup import Cancellation, afterwards
from holdfast.runtime.clock import now
from holdfast.runtime.process import Child, ChildFailed, running
from holdfast.sources.mysql.dump.part_plan import XBSTREAM
from holdfast.sources.mysql.dump.pipe import failure
from holdfast.sources.mysql.dump.programs import Program, find_backup
from holdfast.sources.mysql.files import server_files
from holdfast.sources.mysql.files.server_files import ServerFiles
from holdfast.sources.mysql.files.xbstream import Catcher, NotUnderstood
from holdfast.sources.mysql.rows.source import MysqlSource
from holdfast.sources.mysql.server import privileges
from holdfast.sources.mysql.server.client import login_file
from holdfast.sources.mysql.server.connection import Address
from holdfast.sources.mysql.server.session import ServerVersion, Session, session

SUBJECT = "the server's files"
SUCCESS = "completed OK!"
MOST_THREADS = 4
# Called xtrabackup_* before MariaDB 11.1.
_CHECKPOINTS = re.compile(r"(?:mariadb_backup|xtrabackup)_checkpoints")
_INFO = re.compile(r"(?:mariadb_backup|xtrabackup)_info")
# What the records call the database of a backup that holds all of them.
WHOLE_SERVER = "all-databases"


class MysqlPhysicalSource(Source):
    """A whole server; the database in `dsn` is only where we log in."""

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
            Finding(subject="server", detail=f"{found.version.kind} {found.version.number}"),
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
            server=found.version.server(WHOLE_SERVER),
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
            server=found.version.server(WHOLE_SERVER),
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
        version = ServerVersion.of(asking)
        server_files.require_mariadb(version)
        program = find_backup(version)
        privileges.require(asking, server_files.RIGHTS, "the server")
        server_files.require_no_limit(asking)
        return _Found(
            version=version, program=program, files=server_files.find(asking, self._address)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    version: ServerVersion
    program: Program
    files: ServerFiles


@dataclass(slots=True, kw_only=True)
class PhysicalSnapshot(Snapshot):
    """What proves its moment is known once its one part has been read."""

    server: Server = field()
    address: Address
    program: Program
    files: ServerFiles
    threads: int
    clock: Callable[[], datetime]
    taken_at: datetime = field()
    proof: Proof = NO_PROOF
    consistency: Consistency = Consistency.SNAPSHOT
    endings: Cancellation = field(default_factory=Cancellation)

    @property
    def tools(self) -> dict[str, str]:
        return {self.program.name: self.program.version}

    @property
    def parts(self) -> Sequence[PartPlan]:
        return (
            PartPlan(
                name=f"server.{XBSTREAM}",
                kind=PartKind.ARCHIVE,
                estimated_bytes=self.files.size_bytes,
                details=MysqlServerFiles(server_version=self.program.version),
                compress_threads=self.threads,
            ),
        )

    @contextmanager
    def read(self, part: PartPlan) -> Iterator[PartStream]:  # noqa: ARG002  # there is but one
        with (
            login_file(self.address) as login,
            tempfile.TemporaryDirectory(prefix="holdfast-") as workplace,
            running(self._argv(login, workplace), pass_fds=(login,)) as child,
            self.endings.registered(child.end),
        ):
            yield FileStream(child, self)

    def abort(self) -> None:
        self.endings.abort()

    def _argv(self, login: int, workplace: str) -> list[str]:
        return [
            self.program.path,
            f"--defaults-file=/dev/fd/{login}",
            "--backup",
            f"--stream={XBSTREAM}",
            f"--target-dir={workplace}",
            f"--datadir={self.files.folder}",
            f"--parallel={self.threads}",
        ]


class FileStream(PartStream):
    """What `mariadb-backup` streams; it tells its snapshot what moment the files are of."""

    def __init__(self, child: Child, snapshot: PhysicalSnapshot) -> None:
        self._child = child
        self._snapshot = snapshot

    def __iter__(self) -> Iterator[Buffer]:
        catcher = Catcher(lambda path: bool(_CHECKPOINTS.fullmatch(path) or _INFO.fullmatch(path)))
        try:
            for chunk in self._child.chunks():
                catcher.feed(chunk)
                yield chunk
        except ChildFailed as error:
            raise failure(error, SUBJECT, self._snapshot.endings.aborted) from error
        except NotUnderstood as error:
            raise BackupFailed(f"cannot back up {SUBJECT}: {error}") from error
        if SUCCESS not in self._child.stderr or not catcher.whole:
            raise BackupFailed(
                f"cannot back up {SUBJECT}: {self._child.program} did not say '{SUCCESS}': "
                f"{self._child.stderr}"
            )
        self._snapshot.proof = proof_in(catcher.files)
        self._snapshot.taken_at = self._snapshot.clock()


def proof_in(files: dict[str, bytes]) -> MysqlCopyProof:
    """What the copy says of itself; raises `BackupFailed` where it does not say how far it is."""
    told: dict[str, str] = {}
    for content in files.values():
        for line in content.decode(errors="replace").splitlines():
            name, separator, value = line.partition(" = ")
            if separator and value.strip():
                told[name.strip()] = value.strip()
    if "last_lsn" not in told:
        raise BackupFailed(f"cannot back up {SUBJECT}: the copy does not say up to which LSN it is")
    return MysqlCopyProof(
        lsn=told["last_lsn"],
        checkpoint_lsn=told.get("to_lsn", ""),
        binlog_position=told.get("binlog_pos", ""),
        copy_began=told.get("start_time", ""),
        copy_ended=told.get("end_time", ""),
        backup_type=told.get("backup_type", ""),
    )
