"""Which databases of a server a job covers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import psycopg
from psycopg.conninfo import make_conninfo

from holdfast.model.backup import Selection
from holdfast.model.errors import DatabaseUnreachable, HoldfastError
from holdfast.sources.postgres.server import cluster, preflight
from holdfast.sources.postgres.server.login import Login

Source = TypeVar("Source")

# Templates hold nothing but defaults.
_OPEN = """
SELECT datname::text FROM pg_database WHERE datallowconn AND NOT datistemplate
ORDER BY pg_database_size(oid) DESC, datname
"""


def each_of(
    selection: Selection, login: Login, dsn: str, source_of: Callable[[str], Source]
) -> list[Source]:
    """A source for each database that fits, biggest first; `source_of` takes its dsn.

    Raises `DatabaseUnreachable` where none fits.
    """
    if "dbname" not in login.settings:
        login = login.in_database(cluster.MAINTENANCE[0])
    with login.session() as connection:
        names = selection.of(str(row[0]) for row in connection.execute(_OPEN))
    if not names:
        raise DatabaseUnreachable(
            "cannot find a database to back up: none has a name that was asked for",
            hint="see databases and exclude_databases of the job; psql --list shows the names",
        )
    return [source_of(make_conninfo(dsn, dbname=name)) for name in names]


def lag_seconds(login: Login) -> float | None:
    """How far the server lags; what cannot be seen is None."""
    try:
        with login.session() as connection:
            return preflight.lag_seconds(connection)
    except (psycopg.Error, HoldfastError):
        return None
