"""Asks a server where its files are, and checks that every file it knows exists."""

from __future__ import annotations

import os
import stat
import struct
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg

from holdfast.model.errors import (
    AccessDenied,
    BackupFailed,
    DatabaseUnreachable,
    GrantMissing,
    Unsupported,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.sources.postgres.files.page import PAGE_BYTES, PAGES_PER_SEGMENT
from holdfast.sources.postgres.files.tree import CONTROL_FILE, LINKS, NEEDED, Seen, Tree
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.sql_text import identifier

OLDEST_SERVER = 140000
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
    """Facts that stay constant during a backup; `tablespaces` maps OIDs to locations."""

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
    """A session for queries about the cluster; raises only `HoldfastError`s."""
    with (
        login.session() as connection,
        failures.translated(connection, "the properties of the cluster", user=login.user),
    ):
        yield connection


def asked(login: Login) -> ClusterFacts:
    """`facts`, asked in a session of its own."""
    with session(login) as connection:
        return facts(connection)


def facts(connection: psycopg.Connection) -> ClusterFacts:
    """Ask the server for the facts of its cluster.

    Raises `GrantMissing` if this process cannot find or read its files. Raises `Unsupported` for
    an old server, for other page or segment sizes, and for the files of another cluster.
    """
    row = connection.execute(_FACTS).fetchone()
    if row is None:
        raise psycopg.OperationalError("the server did not return its properties")
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
    elif (block, segment) != (PAGE_BYTES, PAGES_PER_SEGMENT):
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
            f"cannot copy '{found.data}': it belongs to another cluster than the server",
            hint=hint,
        )


DEFAULT_SPACE, TEMPLATE, TOLD = 1663, "template0", 10
SEGMENT_BYTES, LOOKS, PAUSE_SECONDS = 1 << 30, 4, 0.25
# The datconnlimit of a database whose DROP DATABASE was interrupted: nobody can use it.
INVALID = -2
_SPACES = "SELECT oid::text FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')"
_DATABASES = f"""
SELECT oid, datname, dattablespace,
       datallowconn AND has_database_privilege(oid, 'CONNECT') AS is_open
FROM pg_database WHERE datconnlimit <> {INVALID} ORDER BY datname
"""  # noqa: S608  # of a constant
# Without temporary relations, and without access methods of extensions, which place their files
# themselves. Of an unlogged relation only the `init` fork is backed up. OFFSET keeps the planner
# from asking for each path twice.
_RELATIONS = """
SELECT path || fork AS path, oid
FROM (SELECT pg_relation_filepath(c.oid) AS path, c.oid,
             CASE c.relpersistence WHEN 'u' THEN '_init' ELSE '' END AS fork
      FROM pg_class c
      WHERE c.relpersistence <> 't' AND (c.relam < 16384 OR c.relkind NOT IN ('r', 'i', 'm'))
      OFFSET 0) AS found
WHERE path IS NOT NULL
"""
_NAMED_RELATIONS = f"SELECT path, oid::regclass::text FROM ({_RELATIONS}) AS named"  # noqa: S608
# A row for each path costs server and client more than the path itself.
_PATHS_A_ROW = 1000
_PATHS = f"""
SELECT string_agg(path, ',')
FROM (SELECT path, row_number() OVER () / {_PATHS_A_ROW} AS batch
      FROM ({_RELATIONS}) AS named) AS batched
GROUP BY batch
"""  # noqa: S608  # of constants
Named = Iterable[tuple[str, str]]
"""Paths below the data directory, each with the name of the object that it belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The data directory, and the paths that are not copied, with the reasons."""

    data: Path
    skipped: Mapping[str, str]
    pause_seconds: float = PAUSE_SECONDS

    def absent(self, named: Named, *, is_kind: Callable[[int], bool]) -> dict[str, str]:
        """Those of `named` that are missing, of the wrong kind, or not copied."""
        return {
            path: what
            for path, what in named
            if path in self.skipped or not self._is(path, is_kind)
        }

    def is_copied(self, path: str) -> bool:
        """Whether `path` is a regular file that is not left out."""
        return path not in self.skipped and self._is(path, stat.S_ISREG)

    def _is(self, path: str, is_kind: Callable[[int], bool]) -> bool:
        try:
            # Not a Path: building one for every relation takes longer than the question.
            return is_kind(os.stat(f"{self.data}/{path}").st_mode)  # noqa: PTH116
        except OSError:
            return False

    def require(
        self, named: Callable[[], Named], *, is_kind: Callable[[int], bool] = stat.S_ISDIR
    ) -> None:
        """Raises `BackupFailed` for paths that the server keeps naming and that never exist.

        It looks several times, `pause_seconds` apart: during a DROP a folder disappears shortly
        before its row in the catalog.
        """
        absent = self.absent(named(), is_kind=is_kind)
        for _ in range(LOOKS):
            if not absent:
                return
            time.sleep(self.pause_seconds)
            still = (each for each in named() if each[0] in absent)
            absent = self.absent(still, is_kind=is_kind)
        if absent:
            raise self._failed(absent)

    def require_before(self, path: str) -> None:
        """Raises `BackupFailed` if the segment before `path` is missing or shorter than 1 GiB.

        `path` is a later segment of a relation, which a server would take for shorter. A running
        TRUNCATE or DROP is no error: the first shortens from the end, and the second empties the
        first segment before it removes any.
        """
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
            f"cannot copy all of '{self.data}': the server's catalog names {', '.join(told)}{more},"
            " which is missing",
            hint="check that its disk is mounted and that the folder is the server's;"
            " drop what is lost for good, then run the backup again",
        )


def require_all(login: Login, found: ClusterFacts, seen: Seen) -> list[str]:
    """Raises `BackupFailed` if a tablespace, database or relation is missing or was left out.

    `seen` says what was left out. Returns notes on the databases that could not be asked.
    """
    files = Files(data=found.data, skipped=seen.skipped)
    # A running server has all of these, so a skipped one would be missing from the backup.
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
        f"files of database '{name}' are not compared with its catalog: {why}"
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
    """The files without which nobody can connect to a database."""
    for folder, what in (("global", "the cluster"), *_databases(connection, version)):
        yield f"{folder}/pg_filenode.map", what
        if folder != "global":
            yield f"{folder}/PG_VERSION", what


def _unasked(login: Login, files: Files, name: str, *, is_open: bool) -> Iterator[str]:
    """Yields why the relations of a database could not be checked; nothing if they were.

    Raises `BackupFailed` for a missing relation.
    """
    if not is_open:
        # Nobody can connect to template0, so nobody can have changed it.
        yield from [] if name == TEMPLATE else ["this login may not connect to it"]
        return
    try:
        with session(login.in_database(name)) as connection:
            if not all(map(files.is_copied, _paths(connection))):
                files.require(lambda: _relations(connection, name), is_kind=stat.S_ISREG)
    except (AccessDenied, DatabaseUnreachable, GrantMissing) as error:
        yield error.message


def _paths(connection: psycopg.Connection) -> Iterator[str]:
    with connection.cursor() as cursor:
        for (found,) in cursor.stream(_PATHS.encode()):
            # Paths of relations are numbers and folders of the server's own: no comma is in them.
            yield from found.split(",")


def _relations(connection: psycopg.Connection, database: str) -> Iterator[tuple[str, str]]:
    with connection.cursor() as cursor:
        for path, relation in cursor.stream(_NAMED_RELATIONS.encode()):
            yield path, f"'{relation}' of database '{database}'"


def _rows(connection: psycopg.Connection, query: str) -> Collection[tuple[object, ...]]:
    return connection.execute(query.encode()).fetchall()
