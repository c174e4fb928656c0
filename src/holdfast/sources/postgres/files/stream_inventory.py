"""What pg_basebackup did not send: the server leaves out links without failing, and never misses a
database whose folder is gone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import psycopg

from holdfast.model.errors import BackupFailed
from holdfast.sources.postgres.files.tree import is_servers_own, is_socket

_NAMED = re.compile(r'"\./([^"]+)"')
_DATABASE = re.compile(r"(?:\./)?base/([0-9]+)/PG_VERSION")
# In the default tablespace, as others are refused; not what an interrupted drop has left.
_DATABASES = """
SELECT oid::text, datname FROM pg_database
WHERE datconnlimit <> -2 AND dattablespace = (SELECT oid FROM pg_tablespace
                                              WHERE spcname = 'pg_default')
"""


class DatabasesSent:
    """Obeys `tar_stream.Watcher`: the OIDs of the databases whose folders are in a tar."""

    def __init__(self) -> None:
        self.oids: set[str] = set()

    def begin(self, name: str, size_bytes: int) -> None:  # noqa: ARG002  # as others want it
        found = _DATABASE.fullmatch(name)
        if found:
            self.oids.add(found[1])

    def see(self, content: memoryview) -> None:
        """Its name is enough."""


def known_databases(connection: psycopg.Connection) -> dict[str, str]:
    """Names by OID."""
    return {str(oid): str(name) for oid, name in connection.execute(_DATABASES)}


def require_databases(sent: Iterable[str], known: Mapping[str, str]) -> None:
    """Raises `BackupFailed` for one of those that were `known` all the while and were not sent."""
    missing = sorted(f"'{known[oid]}' in 'base/{oid}'" for oid in known.keys() - set(sent))
    if missing:
        raise BackupFailed(
            f"cannot stream the cluster: the server sent nothing of database {', '.join(missing)}",
            hint="is its folder there? A link in its place is followed by engine native only",
        )


def left_out(stderr: str) -> list[str]:
    """Notes about what the server says it has left out, as it is neither file nor folder.

    Raises `BackupFailed` where that is the server's own."""
    # It says so when it adds up sizes, and again when it sends.
    paths = [path for path in dict.fromkeys(_NAMED.findall(stderr)) if not is_socket(path)]
    own = [path for path in paths if is_servers_own(path)]
    if own:
        raise BackupFailed(
            f"cannot stream the cluster: the server leaves out '{own[0]}', as it is a link or a"
            " special file",
            hint="use engine native, which follows links, or put what it leads to in its place",
        )
    return [f"left out: '{path}': a link or a special file" for path in paths]
