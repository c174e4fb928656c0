"""The stock programs: which are on this host, which suit the server, and their arguments."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence

from holdfast.model.errors import ToolMissing
from holdfast.model.lazy_dataclass import dataclass
from holdfast.runtime.process import ChildFailed, output_of, running
from holdfast.sources.mysql.server.connection import Address
from holdfast.sources.mysql.server.session import MARIADB, MYSQL, ServerVersion

DUMPS = {MARIADB: ("mariadb-dump", "mysqldump"), MYSQL: ("mysqldump",)}
DUMP_PACKAGES = {MARIADB: "mariadb-client", MYSQL: "mysql-client (or default-mysql-client)"}
BACKUP_PROGRAM = "mariadb-backup"
UNPACKER = "mbstream"
BACKUP_PACKAGE = "mariadb-backup"
_VERSION = re.compile(r"(?P<mariadb>\d+\.\d+\.\d+)-MariaDB|server (?P<based>\d+\.\d+\.\d+)")
_MYSQL_VERSION = re.compile(r"Ver (?P<mysql>\d+\.\d+\.\d+)")
# The last line of a complete dump.
COMPLETED = b"-- Dump completed"
# `--complete-insert`: rows name their columns, so invisible and generated ones come out right.
# No DROP TABLE: a dump piped into the wrong database must not empty it.
EVERY_DUMP = (
    "--default-character-set=utf8mb4",
    "--max-allowed-packet=1G",
    "--quick",
    "--hex-blob",
    "--complete-insert",
    "--no-tablespaces",
    "--skip-add-drop-table",
    "--skip-add-locks",
    "--skip-dump-date",
)
ONLY_ROWS = ("--no-create-info", "--skip-triggers")
WHOLE_DATABASE = ("--routines", "--events", "--triggers")
ONE_TRANSACTION = "--single-transaction"
LOCKED = "--lock-tables"
WITH_HISTORY = "--dump-history"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program: its path, and the kind and version that it reports."""

    name: str
    path: str
    kind: str
    version: str

    @property
    def release(self) -> tuple[int, int]:
        major, minor, *_ = self.version.split(".")
        return int(major), int(minor)


def find_dump(version: ServerVersion) -> Program:
    """The dump program that suits the server; raises `ToolMissing`."""
    kind = version.kind
    package = DUMP_PACKAGES[kind]
    program = _first(DUMPS[kind], package)
    if program.kind != kind:
        raise ToolMissing(
            f"cannot dump a {kind} server with '{program.path}': it is a program of {program.kind}",
            hint=f"install {package}",
        )
    if program.release < version.release:
        raise ToolMissing(
            f"cannot dump a {kind} server of version {version.number} with '{program.path}': "
            f"it is of version {program.version}",
            hint=f"install {package} of the server's version or later",
        )
    return program


def find_backup(version: ServerVersion) -> Program:
    """`mariadb-backup` of the server's own release; raises `ToolMissing`."""
    program = _first((BACKUP_PROGRAM,), BACKUP_PACKAGE)
    if program.release != version.release:
        raise ToolMissing(
            f"cannot copy the files of a server of version {version.number} with "
            f"'{program.path}': it is of version {program.version}",
            hint=f"install {BACKUP_PACKAGE} of the server's version: their formats belong together",
        )
    return program


def find_unpacking(server_version: str) -> tuple[Program, str]:
    """The program that prepares a copy from `server_version`, and the path of its unpacker.

    Raises `ToolMissing`.
    """
    unpacker = located((UNPACKER,), BACKUP_PACKAGE)
    program = _first((BACKUP_PROGRAM,), BACKUP_PACKAGE)
    wanted = tuple(int(number) for number in re.findall(r"\d+", server_version)[:2])
    if program.release != wanted:
        raise ToolMissing(
            f"cannot prepare files of MariaDB {server_version} with '{program.path}': "
            f"it is of version {program.version}",
            hint=f"install {BACKUP_PACKAGE} of the version that copied the files",
        )
    return program, unpacker


def located(names: Sequence[str], package: str) -> str:
    """The path of the first of `names` that is installed; raises `ToolMissing`."""
    for name in names:
        if path := shutil.which(name):
            return path
    raise ToolMissing(f"cannot run '{names[0]}': it is not installed", hint=f"install {package}")


def _first(names: Sequence[str], package: str) -> Program:
    path = located(names, package)
    try:
        with running([path, "--version"]) as child:
            said = b"".join(child.chunks()).decode(errors="replace")
            # mariadb-backup prints its version to stderr.
            said += child.stderr
    except ChildFailed as error:
        raise ToolMissing(
            f"cannot determine the version of '{path}': {error.message}",
            hint=f"reinstall {package}",
        ) from error
    return described(path, said)


def described(path: str, said: str) -> Program:
    """The program that printed `said` for `--version`; raises `ToolMissing` without a version."""
    mariadb = _VERSION.search(said)
    mysql = _MYSQL_VERSION.search(said)
    name = path.rpartition("/")[2]
    if mariadb:
        version = mariadb["mariadb"] or mariadb["based"]
        return Program(name=name, path=path, kind=MARIADB, version=version)
    if mysql:
        return Program(name=name, path=path, kind=MYSQL, version=mysql["mysql"])
    raise ToolMissing(
        f"cannot determine the version of '{path}': --version prints '{said.strip()}'"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpCommand:
    """The command lines to dump one database."""

    program: Program
    database: str

    def rows_of(
        self, table: str, *, login: int, transactional: bool, history: bool = False
    ) -> list[str]:
        """The rows of one table; one without transactions is locked while it is read."""
        how = (ONE_TRANSACTION,) if transactional else (LOCKED,)
        past = (WITH_HISTORY,) if history else ()
        return [*self._head(login), *ONLY_ROWS, *how, *past, "--", self.database, table]

    def whole(
        self, *, login: int, history: bool = False, without_rows: Sequence[str] = ()
    ) -> list[str]:
        """The whole database as of one moment; of tables `without_rows` only the definition."""
        past = (WITH_HISTORY,) if history else ()
        # MySQL's program leaves out such rows by itself, and has no such option.
        bare = [
            f"--ignore-table-data={self.database}.{name}"
            for name in without_rows
            if self.program.kind != MYSQL
        ]
        how = (*WHOLE_DATABASE, ONE_TRANSACTION, *past, *bare)
        return [*self._head(login), *how, "--", self.database]

    def _head(self, login: int) -> list[str]:
        # Loading the dump into another server must not change that server's GTID set.
        own = ("--set-gtid-purged=OFF",) if self.program.kind == MYSQL else ()
        # The program wants this option first; it then reads no other option file of the host.
        return [
            self.program.path,
            f"--defaults-file=/dev/fd/{login}",
            *EVERY_DUMP,
            *own,
        ]


def prepared_login(address: Address, kind: str, preparation: str) -> dict[str, str]:
    """Options for a program's login file that make its session begin with `preparation`.

    MariaDB's programs lack `init-command`. Their library accepts it in a connection string in place
    of the host: names and values separated by semicolons.
    """
    if kind != MARIADB:
        return {"init-command": preparation}
    where = "localhost" if address.unix_socket else address.host
    return {"host": f"host={where};init-command={{{preparation}}}"}


SERVERS = {MARIADB: ("mariadbd", "mysqld"), MYSQL: ("mysqld",)}
PACKAGES = {MARIADB: "mariadb-server", MYSQL: "mysql-server"}
INSTALLERS = ("mariadb-install-db", "mysql_install_db")
# An ordinary user's PATH often lacks them.
SERVER_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedUp:
    """The server that a backup came from; its files fit only a server of the same release."""

    kind: str
    version: str
    is_files: bool

    @property
    def release(self) -> tuple[int, int]:
        major, minor, *_ = [*re.findall(r"\d+", self.version), "0", "0"]
        return int(major), int(minor)

    def admits(self, program: Program) -> bool:
        if program.kind != self.kind:
            return False
        return program.release == self.release if self.is_files else program.release >= self.release

    @property
    def wanted(self) -> str:
        """The server in words."""
        number = ".".join(map(str, self.release))
        return f"{self.kind} {number}" if self.is_files else f"{self.kind} {number} or later"


def find_server(backed_up: BackedUp) -> Program:
    """The server program on this host that `backed_up` admits; raises `ToolMissing`.

    No file is read or written but the program: it tells its version and ends.
    """
    found: list[Program] = []
    hint = f"install {PACKAGES[backed_up.kind]}, of {backed_up.wanted}"
    for path in _paths(SERVERS[backed_up.kind]):
        program = _asked(path)
        if program is not None and backed_up.admits(program):
            return program
        found += [program] if program else []
    if not found:
        raise ToolMissing(
            f"cannot run '{SERVERS[backed_up.kind][0]}': it is not installed", hint=hint
        )
    other = found[0]
    raise ToolMissing(
        f"cannot drill with '{other.path}': it is {other.kind} {other.version}, and the backup is"
        f" for {backed_up.wanted}",
        hint=hint,
    )


def _paths(names: Sequence[str]) -> Iterator[str]:
    where = os.pathsep.join([os.environ.get("PATH", os.defpath), *SERVER_FOLDERS])
    for name in names:
        if path := shutil.which(name, path=where):
            yield path


def _asked(path: str) -> Program | None:
    try:
        return described(path, output_of([path, "--no-defaults", "--version"]))
    except (ChildFailed, ToolMissing):
        return None


def installer_of(program: Program) -> str:
    """The path of what makes a data directory: of MariaDB a script, of MySQL the server itself.

    Raises `ToolMissing`.
    """
    if program.kind == MYSQL:
        return program.path
    return located(INSTALLERS, f"{PACKAGES[program.kind]} of version {program.version}")
