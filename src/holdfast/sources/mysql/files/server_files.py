"""Where a server keeps its files, whether we may read them, and how much they are."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from holdfast.model.errors import GrantMissing, Unsupported
from holdfast.sources.mysql.server.connection import Address
from holdfast.sources.mysql.server.privileges import Need
from holdfast.sources.mysql.server.session import ServerVersion, Session

# The first file of every InnoDB; where it cannot be read, nothing else can.
FIRST_FILE = "ibdata1"
# A server has some hundred variables, and a thousand of status.
LEAST_LIMIT = 1_000_000
RIGHTS = (
    Need(right="RELOAD", database="", why="to flush logs and hold commits off"),
    Need(right="PROCESS", database="", why="to see how far InnoDB's log is"),
    Need(right="LOCK TABLES", database="", why="to hold still what is not InnoDB"),
    Need(
        right="BINLOG MONITOR",
        database="",
        why="to read the position in the binary log",
        instead=("REPLICATION CLIENT",),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFiles:
    """The data directory of a server on this host."""

    folder: Path
    size_bytes: int


def require_mariadb(version: ServerVersion) -> None:
    """Raise `Unsupported` for a server whose files `mariadb-backup` does not know."""
    if not version.mariadb:
        raise Unsupported(
            f"cannot copy the files of a {version.kind} server: mariadb-backup knows MariaDB only",
            hint="write method: logical",
        )


def require_no_limit(asking: Session) -> None:
    """Raise `Unsupported` where `mariadb-backup` would see only some of the server's variables.

    No statement of ours comes before its own.
    """
    limit = int(asking.value("SELECT @@GLOBAL.sql_select_limit"))
    if limit < LEAST_LIMIT:
        raise Unsupported(
            f"cannot copy the server's files while sql_select_limit is {limit}: the session of"
            " mariadb-backup has it too",
            hint="SET GLOBAL sql_select_limit = 18446744073709551615, or write method: logical",
        )


def find(asking: Session, address: Address) -> ServerFiles:
    """The server's files, every folder looked into.

    Raises `Unsupported` where they are not on this host, `GrantMissing` where we may not read.
    """
    folder = Path(asking.value("SELECT @@datadir"))
    if not address.unix_socket:
        raise Unsupported(
            f"cannot copy the files of '{address}': only a server of this host has them here",
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
    """All of it in bytes; raises `OSError` for a folder that may not be listed."""

    def refuse(error: OSError) -> None:
        raise error

    total = 0
    for place, _, names in os.walk(folder, onerror=refuse):
        for name in names:
            try:
                total += (Path(place) / name).lstat().st_size
            except FileNotFoundError:
                # The server comes and goes with its temporary files.
                continue
    return total
