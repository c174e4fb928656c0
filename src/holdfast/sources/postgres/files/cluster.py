"""The cluster behind a login: where its files are, and whether all that it names is there."""

from __future__ import annotations

import os
import stat
import struct
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from holdfast.model.errors import (
    AccessDenied,
    BackupFailed,
    DatabaseUnreachable,
    GrantMissing,
    Unsupported,
)
from holdfast.sources.postgres.files.page import PAGE_BYTES
from holdfast.sources.postgres.files.tree import CONTROL_FILE, LINKS, NEEDED, Seen, Tree
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.sql_text import identifier

OLDEST_SERVER = 140000
SEGMENT_PAGES = 131072
_FACTS = """
SELECT current_setting('server_version'), current_setting('server_version_num')::int,
       current_setting('data_directory', true),
       pg_size_bytes(current_setting('wal_segment_size')),
       current_setting('data_checksums')::bool, current_setting('block_size')::int,
       (SELECT setting::int FROM pg_settings WHERE name = 'segment_size'),
       (SELECT system_identifier FROM pg_control_system())::text,
       (SELECT catalog_version_no FROM pg_control_system()), pg_is_in_recovery(),
       session_user::text
"""
_TABLESPACES = """
SELECT oid::text, pg_tablespace_location(oid) FROM pg_tablespace
WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY oid
"""
_IDENTIFIER = struct.Struct("=Q")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFacts:
    """What does not change while a backup runs; `tablespaces` are locations by their oid."""

    version: str
    version_number: int
    data: Path
    wal_segment_bytes: int
    has_checksums: bool
    system_identifier: str
    catalog_version: int
    is_standby: bool
    tablespaces: dict[str, str]

    @property
    def tree(self) -> Tree:
        major = self.version_number // 10000
        return Tree(data=self.data, version_folder=f"PG_{major}_{self.catalog_version}")


@contextmanager
def session(login: Login) -> Iterator[psycopg.Connection]:
    """A session for what the server knows of its own cluster; raises our own errors only."""
    with (
        login.session() as connection,
        failures.translated(connection, "the cluster's own facts", user=login.user),
    ):
        yield connection


def asked(login: Login) -> ClusterFacts:
    """The `facts` at this moment."""
    with session(login) as connection:
        return facts(connection)


def facts(connection: psycopg.Connection) -> ClusterFacts:
    """Raises `Unsupported`, or `GrantMissing` where the files cannot be read from here."""
    row = connection.execute(_FACTS).fetchone()
    if row is None:
        raise psycopg.OperationalError("the server does not know itself")
    version, number, data, wal_bytes, sums, block, segment, cluster, catalog, standby, user = row
    if not data:
        raise GrantMissing(
            f"cannot find the data directory: role '{user}' may not see it",
            hint=f"GRANT pg_read_all_settings TO {identifier(user)}",
        )
    _require_supported(version, number, block=block, segment=segment)
    found = ClusterFacts(
        version=version,
        version_number=number,
        data=Path(data),
        wal_segment_bytes=wal_bytes,
        has_checksums=sums,
        system_identifier=cluster,
        catalog_version=catalog,
        is_standby=standby,
        tablespaces={str(oid): str(place) for oid, place in connection.execute(_TABLESPACES)},
    )
    _require_readable(found)
    return found


def _require_supported(version: str, number: int, *, block: int, segment: int) -> None:
    if number < OLDEST_SERVER:
        cause = f"server {version} is older than 14"
    elif (block, segment) != (PAGE_BYTES, SEGMENT_PAGES):
        cause = f"it has pages of {block} bytes and {segment} of them in a file"
    else:
        return
    raise Unsupported(
        f"cannot copy the cluster: {cause}",
        hint="use engine tools, which streams it through pg_basebackup",
    )


def _require_readable(found: ClusterFacts) -> None:
    control = found.data / CONTROL_FILE
    hint = "run the job on the server's host, as its user or a member of its group (initdb -g)"
    try:
        with control.open("rb") as file:
            (identifier_found,) = _IDENTIFIER.unpack(file.read(_IDENTIFIER.size))
    except (OSError, struct.error) as error:
        cause = os.strerror(error.errno or 0) if isinstance(error, OSError) else "it is too short"
        raise GrantMissing(f"cannot read '{control}': {cause}", hint=hint) from error
    if str(identifier_found) != found.system_identifier:
        raise Unsupported(
            f"cannot copy '{found.data}': it belongs to another cluster than the one that answers",
            hint=hint,
        )


DEFAULT_SPACE, TEMPLATE, TOLD = 1663, "template0", 10
SEGMENT_BYTES = 1 << 30
LOOKS, PAUSE_SECONDS = 4, 0.25
# Interrupted drops leave databases that nobody can use any more.
INVALID = -2
_SPACES = "SELECT oid::text FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')"
_DATABASES = f"""
SELECT oid, datname, dattablespace,
       datallowconn AND has_database_privilege(oid, 'CONNECT') AS is_open
FROM pg_database WHERE datconnlimit <> {INVALID} ORDER BY datname
"""  # noqa: S608  # of a constant
# What an extension keeps is where it says; what is temporary, and rows that a crash would empty,
# are no part of a backup.
_RELATIONS = """
SELECT pg_relation_filepath(c.oid) || CASE c.relpersistence WHEN 'u' THEN '_init' ELSE '' END,
       c.oid::regclass::text
FROM pg_class c
WHERE c.relpersistence <> 't' AND (c.relam < 16384 OR c.relkind NOT IN ('r', 'i', 'm'))
  AND pg_relation_filepath(c.oid) IS NOT NULL
"""
Named = Iterable[tuple[str, str]]
"""Paths below the data directory, and what each is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The data directory, and why some of it is not copied."""

    data: Path
    skipped: Mapping[str, str]
    pause_seconds: float = PAUSE_SECONDS

    def absent(self, named: Named, *, is_kind: Callable[[int], bool]) -> dict[str, str]:
        """Those that are not there as what they are to be, or not copied; with what they are of."""
        return {
            path: what
            for path, what in named
            if path in self.skipped or not self._is(path, is_kind)
        }

    def _is(self, path: str, is_kind: Callable[[int], bool]) -> bool:
        try:
            return is_kind((self.data / path).stat().st_mode)
        except OSError:
            return False

    def require(
        self, named: Callable[[], Named], *, is_kind: Callable[[int], bool] = stat.S_ISDIR
    ) -> None:
        """Raises `BackupFailed` for what is named again and again and is never there: what was
        dropped or moved meanwhile is not. A folder goes a moment before its name does."""
        absent = self.absent(named(), is_kind=is_kind)
        for _ in range(LOOKS):
            if not absent:
                return
            time.sleep(self.pause_seconds)
            still = ((path, what) for path, what in named() if path in absent)
            absent = self.absent(still, is_kind=is_kind)
        if absent:
            raise self._failed(absent)

    def require_before(self, path: str) -> None:
        """Raises `BackupFailed` where the GiB before `path`, a later one of a relation, is not
        there: a server would take the relation for shorter. What it truncates it truncates from
        the end, and what it drops is empty first."""
        stem, _, number = path.rpartition(".")
        before = stem if number == "1" else f"{stem}.{int(number) - 1}"
        is_short = self._size_bytes(before) < SEGMENT_BYTES
        if is_short and self._size_bytes(stem) and self._size_bytes(path):
            raise self._failed({before: f"the GiB before '{path}'"})

    def _size_bytes(self, path: str) -> int:
        try:
            return (self.data / path).stat().st_size
        except OSError:
            return 0

    def _failed(self, absent: Mapping[str, str]) -> BackupFailed:
        told = [
            f"{what} in '{path}'" + (f" ({self.skipped[path]})" if path in self.skipped else "")
            for path, what in sorted(absent.items())[:TOLD]
        ]
        more = f" and {len(absent) - TOLD} more" if len(absent) > TOLD else ""
        return BackupFailed(
            f"cannot copy all of '{self.data}': the server knows {', '.join(told)}{more}, and it is"
            " not there",
            hint="is its disk mounted, and does the folder belong to the server? What is lost for"
            " good has to be dropped before the cluster can be copied",
        )


def require_all(login: Login, found: ClusterFacts, seen: Seen) -> list[str]:
    """Raises `BackupFailed` where a tablespace, a database or a relation is not there, or was
    left out of what was `seen`; which databases could not be asked, and why."""
    files = Files(data=found.data, skipped=seen.skipped)
    # A server that runs has all that its release needs, wherever a link may lead to it.
    files.require(lambda: ((path, "its own") for path in NEEDED if path in seen.skipped))
    for path in seen.later_segments:
        files.require_before(path)
    version = found.tree.version_folder
    with session(login) as connection:
        files.require(lambda: _spaces(connection, version))
        files.require(lambda: _databases(connection, version))
        files.require(lambda: _maps(connection, version), is_kind=stat.S_ISREG)
        names = [(str(name), is_open) for _, name, _, is_open in _rows(connection, _DATABASES)]
    return [
        f"files of database '{name}' are not compared with its catalogue: {why}"
        for name, is_open in names
        for why in _unasked(login, files, name, is_open=bool(is_open))
    ]


def _spaces(connection: psycopg.Connection, version: str) -> Iterator[tuple[str, str]]:
    for (oid,) in _rows(connection, _SPACES):
        yield f"{LINKS}/{oid}", f"tablespace {oid}"
        yield f"{LINKS}/{oid}/{version}", f"tablespace {oid}"


def _databases(connection: psycopg.Connection, version: str) -> Iterator[tuple[str, str]]:
    for oid, name, space, _ in _rows(connection, _DATABASES):
        below = "base" if space == DEFAULT_SPACE else f"{LINKS}/{space}/{version}"
        yield f"{below}/{oid}", f"database '{name}'"


def _maps(connection: psycopg.Connection, version: str) -> Iterator[tuple[str, str]]:
    """What nobody can connect without."""
    for folder, what in (("global", "the cluster"), *_databases(connection, version)):
        yield f"{folder}/pg_filenode.map", what
        if folder != "global":
            yield f"{folder}/PG_VERSION", what


def _unasked(login: Login, files: Files, name: str, *, is_open: bool) -> Iterator[str]:
    """Why the relations of a database were not compared; nothing where they were."""
    if not is_open:
        # Nobody may be in template0, and so nobody has changed it.
        yield from [] if name == TEMPLATE else ["nobody, or not this login, may connect to it"]
        return
    try:
        with session(login.in_database(name)) as connection:
            files.require(lambda: _relations(connection, name), is_kind=stat.S_ISREG)
    except (AccessDenied, DatabaseUnreachable, GrantMissing) as error:
        yield error.message


def _relations(connection: psycopg.Connection, database: str) -> Iterator[tuple[str, str]]:
    with connection.cursor() as cursor:
        for path, relation in cursor.stream(_RELATIONS):
            yield path, f"'{relation}' of database '{database}'"


def _rows(connection: psycopg.Connection, query: str) -> Collection[tuple[object, ...]]:
    return connection.execute(query.encode()).fetchall()
