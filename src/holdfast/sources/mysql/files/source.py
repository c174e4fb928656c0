"""A MariaDB server whose files `mariadb-backup` copies: all databases in one stream."""

from __future__ import annotations

import os
import pwd
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field
from datetime import datetime
from pathlib import Path

from holdfast.model.backup import Buffer, Consistency, PartKind, PartPlan, Relation, Server
from holdfast.model.errors import BackupFailed, GrantMissing, SnapshotLost, Unsupported
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.part_details import MysqlServerFiles
from holdfast.model.proof import NO_PROOF, MysqlCopyProof, Proof
from holdfast.model.units import size
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
from holdfast.sources.mysql.files.xbstream import Catcher, NotUnderstood
from holdfast.sources.mysql.rows.source import MysqlSource
from holdfast.sources.mysql.server import privileges
from holdfast.sources.mysql.server.connection import Address, login_file
from holdfast.sources.mysql.server.privileges import Need
from holdfast.sources.mysql.server.session import ServerVersion, Session, session

# InnoDB's first file: a user who cannot read it cannot read the others.
FIRST_FILE = "ibdata1"
# Far more rows than a server's variables and status have: some hundreds, and a thousand.
LEAST_LIMIT = 1_000_000
RIGHTS = (
    Need(right="RELOAD", database="", why="to flush logs and block commits"),
    Need(right="PROCESS", database="", why="to read the position of InnoDB's log"),
    Need(right="LOCK TABLES", database="", why="to lock tables that are not InnoDB"),
    Need(
        right="BINLOG MONITOR",
        database="",
        why="to read the position in the binary log",
        instead=("REPLICATION CLIENT",),
    ),
)
SUBJECT = "the server's files"
SUCCESS = "completed OK!"
MOST_THREADS = 4
# Called xtrabackup_* before MariaDB 11.1.
_CHECKPOINTS = re.compile(r"(?:mariadb_backup|xtrabackup)_checkpoints")
_INFO = re.compile(r"(?:mariadb_backup|xtrabackup)_info")
# The database name in the records of a backup that holds all databases.
WHOLE_SERVER = "all-databases"


class MysqlPhysicalSource(Source):
    """A whole server; the database in `dsn` only serves to log in."""

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
            Finding(
                subject="files", detail=f"'{files.folder}' can be read, {size(files.size_bytes)}"
            ),
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
            raise SnapshotLost(
                "cannot resume the backup: mariadb-backup sends the server's files as one stream"
            )
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
        require_mariadb(version)
        program = find_backup(version)
        privileges.require(asking, RIGHTS, "the server")
        require_no_limit(asking)
        return _Found(version=version, program=program, files=find_files(asking, self._address))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    version: ServerVersion
    program: Program
    files: ServerFiles


@dataclass(slots=True, kw_only=True)
class PhysicalSnapshot(Snapshot):
    """A copy of a server's files; its proof and time are known once its only part was read."""

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
    """The output of `mariadb-backup`; at its end it sets the proof and time of its snapshot."""

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
    """The proof from the copy's own files; raises `BackupFailed` where they name no last LSN."""
    told: dict[str, str] = {}
    for content in files.values():
        for line in content.decode(errors="replace").splitlines():
            name, separator, value = line.partition(" = ")
            if separator and value.strip():
                told[name.strip()] = value.strip()
    if "last_lsn" not in told:
        raise BackupFailed(f"cannot back up {SUBJECT}: the copy does not report its last LSN")
    return MysqlCopyProof(
        lsn=told["last_lsn"],
        checkpoint_lsn=told.get("to_lsn", ""),
        binlog_position=told.get("binlog_pos", ""),
        copy_began=told.get("start_time", ""),
        copy_ended=told.get("end_time", ""),
        backup_type=told.get("backup_type", ""),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFiles:
    """The data directory of a server on this host."""

    folder: Path
    size_bytes: int


def find_files(asking: Session, address: Address) -> ServerFiles:
    """The server's data directory, and its size after listing every folder.

    Raises `Unsupported` where the files are not on this host, and `GrantMissing` where this user
    may not read them.
    """
    folder = Path(asking.value("SELECT @@datadir"))
    if not address.unix_socket:
        raise Unsupported(
            f"cannot copy the files of '{address}': the connection does not use a "
            "socket of this host",
            hint="name its socket in dsn: ?unix_socket=/run/mysqld/mysqld.sock",
        )
    try:
        with (folder / FIRST_FILE).open("rb"):
            size_bytes = _size_of(folder)
    except OSError as error:
        user = pwd.getpwuid(os.geteuid()).pw_name
        raise GrantMissing(
            f"cannot read '{error.filename}' as user '{user}': {error.strerror}",
            hint="run it as root or mysql, or give the job's unit "
            "CAP_DAC_READ_SEARCH as docs/restore-mysql.md shows",
        ) from error
    return ServerFiles(folder=folder, size_bytes=size_bytes)


def _size_of(folder: Path) -> int:
    """The size of all files in bytes; raises `OSError` for a folder that may not be listed."""

    def refuse(error: OSError) -> None:
        raise error

    total = 0
    for place, _, names in os.walk(folder, onerror=refuse):
        for name in names:
            try:
                total += (Path(place) / name).lstat().st_size
            except FileNotFoundError:
                # The server may remove a temporary file at any time.
                continue
    return total


def require_mariadb(version: ServerVersion) -> None:
    """Raise `Unsupported` for a server whose files `mariadb-backup` cannot copy."""
    if not version.mariadb:
        raise Unsupported(
            f"cannot copy the files of a {version.kind} server: mariadb-backup supports MariaDB "
            "only",
            hint="set method: logical",
        )


def require_no_limit(asking: Session) -> None:
    """Raise `Unsupported` where `mariadb-backup` would see only some of the server's variables.

    Its session has the server's global limit: we cannot send a statement before its own.
    """
    limit = int(asking.value("SELECT @@GLOBAL.sql_select_limit"))
    if limit < LEAST_LIMIT:
        raise Unsupported(
            f"cannot copy the server's files while sql_select_limit is {limit}: the session of"
            " mariadb-backup has it too",
            hint="SET GLOBAL sql_select_limit = 18446744073709551615, or set method: logical",
        )
