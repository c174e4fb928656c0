"""Checks that every file which the catalogs of a server name exists and is copied."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import psycopg

from holdfast.model.errors import AccessDenied, BackupFailed, DatabaseUnreachable, GrantMissing
from holdfast.model.lazy_dataclass import dataclass
from holdfast.sources.postgres.files.cluster import ClusterFacts, session
from holdfast.sources.postgres.files.tree import LINKS, NEEDED, Seen
from holdfast.sources.postgres.server.login import Login

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
# Names of files by their folder, put together here: `pg_relation_filepath` looks each relation up
# again, which costs the server as much as all else that it does for a backup. Only relations that
# `pg_filenode.map` names have no number of their own; they come with their whole path. A row for
# each name would cost server and client more than the name itself.
_NAMES_A_ROW = 1000
_NAMES = f"""
SELECT CASE WHEN space = 1664 THEN 'global'
            WHEN space = {DEFAULT_SPACE} THEN 'base/' || database
            ELSE '{LINKS}/' || space || '/' || %s || '/' || database END AS folder,
       string_agg(name, ',') AS names
FROM (SELECT CASE c.reltablespace WHEN 0 THEN d.dattablespace ELSE c.reltablespace END AS space,
             d.oid AS database, c.oid::int8 / {_NAMES_A_ROW} AS batch,
             c.relfilenode || CASE c.relpersistence WHEN 'u' THEN '_init' ELSE '' END AS name
      FROM pg_class c, pg_database d
      WHERE d.datname = current_database() AND c.relfilenode <> 0
        AND c.relkind IN ('r', 'i', 'S', 't', 'm') AND c.relpersistence <> 't'
        AND (c.relam < 16384 OR c.relkind NOT IN ('r', 'i', 'm'))) AS named
GROUP BY space, database, batch
UNION ALL
SELECT '', string_agg(pg_relation_filepath(oid), ',') FROM pg_class
WHERE relfilenode = 0 AND relkind IN ('r', 'i', 'S', 't', 'm')
ORDER BY 1
"""  # noqa: S608  # of constants
# The names of one folder that are held in memory; in a larger one, each file is looked at.
NAMES_HELD = 100_000
Named = Iterable[tuple[str, str]]
"""Paths below the data directory, each with the name of the object that it belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The data directory, and the paths that are not copied, with the reasons."""

    data: Path
    skipped: Mapping[str, str]
    pause_seconds: float = PAUSE_SECONDS

    def folder(self, path: str, *, names_held: int = NAMES_HELD) -> Folder:
        """The folder `path` as it is now; without files if it is missing."""
        try:
            with os.scandir(self.data / path) as found:
                files = (item.name for item in found if item.is_file())
                held = frozenset(islice(files, names_held + 1))
        except OSError:
            held = frozenset()
        if len(held) > names_held:
            return Folder(path=path, files=self)
        below = f"{path}/"
        left = (each.removeprefix(below) for each in self.skipped if each.startswith(below))
        return Folder(path=path, files=self, names=held.difference(left))

    def absent(self, named: Named, *, is_kind: Callable[[int], bool]) -> dict[str, str]:
        """Those of `named` that are missing, of the wrong kind, or not copied."""
        return {
            path: what
            for path, what in named
            if path in self.skipped or not self._is(path, is_kind)
        }

    def are_copied(self, paths: Iterable[str]) -> bool:
        """Whether each of `paths` is a regular file that is not left out."""
        return all(path not in self.skipped and self._is(path, stat.S_ISREG) for path in paths)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder of `files` with the names of what is copied of it; None if these are too many.

    One listing in place of a look at each file: an eighth of the time.
    """

    path: str
    files: Files
    names: Collection[str] | None = None

    def has(self, names: Sequence[str]) -> bool:
        """Whether the files of all `names` are copied."""
        if self.names is None:
            return self.files.are_copied(f"{self.path}/{name}" for name in names)
        return all(map(self.names.__contains__, names))


def require_all(login: Login, found: ClusterFacts, seen: Seen) -> list[str]:
    """Raises `BackupFailed` if a tablespace, database or relation is missing or was left out.

    `seen` says what was left out. Returns notes on the databases that could not be asked.
    """
    names, version = require_folders(login, found, seen), found.tree.version_folder
    files = Files(data=found.data, skipped=seen.skipped)
    return [
        f"files of database '{name}' are not compared with its catalog: {why}"
        for name, is_open in names
        for why in _unasked(login, files, name, is_open=is_open, version=version)
    ]


def require_folders(login: Login, found: ClusterFacts, seen: Seen) -> list[tuple[str, bool]]:
    """As `require_all`, without relations; returns the databases, and whether each can be asked."""
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
        rows = _rows(connection, _DATABASES)
    return [(str(name), bool(is_open)) for _, name, _, is_open in rows]


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


def _unasked(
    login: Login, files: Files, name: str, *, is_open: bool, version: str
) -> Iterator[str]:
    """Yields why the relations of a database could not be checked; nothing if they were.

    Raises `BackupFailed` for a missing relation.
    """
    if not is_open:
        # Nobody can connect to template0, so nobody can have changed it.
        yield from [] if name == TEMPLATE else ["this login may not connect to it"]
        return
    try:
        with session(login.in_database(name)) as connection:
            if not _has_all(connection, files, version):
                files.require(lambda: _relations(connection, name), is_kind=stat.S_ISREG)
    except (AccessDenied, DatabaseUnreachable, GrantMissing) as error:
        yield error.message


def _has_all(connection: psycopg.Connection, files: Files, version: str) -> bool:
    """Whether all relations of the database are among `files`, which are listed after they were
    named."""
    last: Folder | None = None
    for folder, names in relation_files(connection, version):
        if not folder:
            found = files.are_copied(names)
        else:
            if last is None or last.path != folder:
                last = files.folder(folder)
            found = last.has(names)
        if not found:
            return False
    return True


def relation_files(
    connection: psycopg.Connection, version: str
) -> Iterator[tuple[str, Sequence[str]]]:
    """Yields folders of this database and names of files in them; without a folder, whole paths."""
    with connection.cursor() as cursor:
        for folder, names in cursor.stream(_NAMES.encode(), [version]):
            # Numbers and folders of the server's own: no comma is in them.
            yield folder, (names or "").split(",")


def _relations(connection: psycopg.Connection, database: str) -> Iterator[tuple[str, str]]:
    with connection.cursor() as cursor:
        for path, relation in cursor.stream(_NAMED_RELATIONS.encode()):
            yield path, f"'{relation}' of database '{database}'"


def _rows(connection: psycopg.Connection, query: str) -> Collection[tuple[object, ...]]:
    return connection.execute(query.encode()).fetchall()
