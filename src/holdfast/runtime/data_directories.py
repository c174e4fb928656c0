"""Where the database servers of this host keep their data, as far as this user can see that."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

# Where packages of Debian, PostgreSQL's authors, MariaDB and MySQL have them. The programs and the
# backups of a user may lie in the same home.
_USUAL = (
    (Path("/var/lib/postgresql"), "*/*"),
    (Path("/var/lib/pgsql"), "*/data"),
    (Path("/var/lib/mysql"), "."),
)
# Folders beside them, which hold nothing but files of servers.
_BESIDE = (Path("/var/lib/mysql-files"), Path("/var/lib/mysql-keyring"))
# A data directory has one of these. Anybody may have a process of that name work in /usr.
_SIGNS = ("PG_VERSION", "ibdata1", "aria_log_control", "auto.cnf", "mysql.ibd", "mysql/db.frm")
_SERVERS = {b"postgres", b"mysqld", b"mariadbd"}
_PROC = Path("/proc")
_LINKS, _SPACE = "pg_tblspc", "PG_*_*"
_WAL, _OF_WAL = "pg_wal", "archive_status"


def data_directories() -> list[Path]:
    """The data directories of this host, and where their tablespaces and WAL lie elsewhere.

    A server works in its data directory.
    """
    found: set[Path] = {each.resolve() for each in _BESIDE if each.is_dir()}
    for each in (*_usual(), *_in_use()):
        with suppress(OSError):
            if each.is_dir() and _has_any(each, _SIGNS):
                found |= {each.resolve(), *_elsewhere(each)}
    return sorted(found - {Path("/")})


def _has_any(folder: Path, patterns: Iterable[str]) -> bool:
    """Whether one of these is in the folder, or this user may not look into it."""
    if not os.access(folder, os.R_OK | os.X_OK):
        return True
    return any(next(folder.glob(pattern), None) is not None for pattern in patterns)


def _usual() -> Iterator[Path]:
    for above, below in _USUAL:
        with suppress(OSError):
            yield from [above] if below == "." else above.glob(below)


def _in_use() -> Iterator[Path]:
    for name in os.listdir(_PROC):
        # A process that has ended by now, or is another user's, cannot be examined.
        with suppress(OSError):
            if name.isdigit() and (_PROC / name / "comm").read_bytes().strip() in _SERVERS:
                yield (_PROC / name / "cwd").readlink()


def _elsewhere(data: Path) -> Iterator[Path]:
    with suppress(OSError):
        for link, sign in [(data / _WAL, _OF_WAL), *_spaces(data)]:
            if link.is_symlink() and link.is_dir() and _has_any(link, [sign]):
                yield link.resolve()


def _spaces(data: Path) -> Iterator[tuple[Path, str]]:
    with suppress(OSError):
        yield from ((link, _SPACE) for link in (data / _LINKS).iterdir())
