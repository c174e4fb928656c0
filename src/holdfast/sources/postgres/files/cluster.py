"""The cluster behind a login: where its files are, and whether they are really these."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from holdfast.model.errors import GrantMissing, Unsupported
from holdfast.sources.postgres.files.page import PAGE_BYTES
from holdfast.sources.postgres.files.tree import CONTROL_FILE, Tree
from holdfast.sources.postgres.server.inspection import asking
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
        asking(connection, "the cluster's own facts", user=login.user),
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
