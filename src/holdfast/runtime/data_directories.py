"""Where the database servers of this host keep their data, as far as this user can see that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Where packages of Debian, PostgreSQL's authors, MariaDB and MySQL have them.
_USUAL = (
    (Path("/var/lib/postgresql"), "*/*"),
    (Path("/var/lib/pgsql"), "*/data"),
    (Path("/var/lib/mysql"), "."),
    (Path("/var/lib/mysql-files"), "."),
    (Path("/var/lib/mysql-keyring"), "."),
)
# A folder of a server has one of these. Without this check anybody could have a process of that name
# work in /usr, and a drill would hide /usr from its server.
_SIGNS = ("PG_VERSION", "ibdata1", "aria_log_control", "auto.cnf", "mysql")
_SERVERS = {"postgres", "mysqld", "mariadbd"}
_PROC = Path("/proc")
_LINKS = "pg_tblspc"


def data_directories() -> list[Path]:
    """The data directories and tablespaces of this host; a server works in its data directory."""
    found: set[Path] = set()
    for each in (*_usual(), *_in_use()):
        with suppress(OSError):
            if each.is_dir():
                found |= {each.resolve(), *_tablespaces(each)}
    return sorted(found - {Path("/")})


def _usual() -> Iterator[Path]:
    for above, below in _USUAL:
        with suppress(OSError):
            yield from [above] if below == "." else above.glob(below)


def _in_use() -> Iterator[Path]:
    for name in os.listdir(_PROC):
        # A process that has ended by now, or is another user's, cannot be examined.
        with suppress(OSError):
            if name.isdigit() and (_PROC / name / "comm").read_text().strip() in _SERVERS:
                yield (_PROC / name / "cwd").readlink()


def _tablespaces(data: Path) -> Iterator[Path]:
    with suppress(OSError):
        for link in (data / _LINKS).iterdir():
            if link.is_symlink() and link.is_dir():
                yield link.resolve()
