"""Asks a server which cluster it runs, and where its files are."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from holdfast.model.errors import GrantMissing, Unsupported
from holdfast.model.lazy_dataclass import dataclass
from holdfast.sources.postgres.files.page import PAGE_BYTES, PAGES_PER_SEGMENT
from holdfast.sources.postgres.files.tree import CONTROL_FILE, Tree
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
