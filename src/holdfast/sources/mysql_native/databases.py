"""Which databases of a server a job covers, and how far the server lags."""

from __future__ import annotations

from holdfast.errors import DatabaseUnreachable, HoldfastError
from holdfast.model import Selection
from holdfast.sources.mysql_native import replication
from holdfast.sources.mysql_native.address import Address
from holdfast.sources.mysql_native.edition import Edition
from holdfast.sources.mysql_native.session import session

# The server's own: accounts and rights come with the databases that they are about.
SYSTEM = ("information_schema", "mysql", "performance_schema", "sys")
DATABASES = """
    SELECT s.schema_name
    FROM information_schema.schemata s
    LEFT JOIN (SELECT table_schema, SUM(COALESCE(data_length, 0)) AS size
               FROM information_schema.tables GROUP BY table_schema) t
      ON t.table_schema = s.schema_name
    ORDER BY COALESCE(t.size, 0) DESC, s.schema_name"""


def chosen(selection: Selection, address: Address) -> list[str]:
    """The names that fit, biggest first; raises `DatabaseUnreachable` where none does."""
    with session(address, database="") as asking:
        known = [name for (name,) in asking.text(DATABASES) if name.lower() not in SYSTEM]
    names = selection.of(known)
    if not names:
        raise DatabaseUnreachable(
            "cannot find a database to back up: none has a name that was asked for",
            hint="see databases and exclude_databases of the job; SHOW DATABASES lists the names"
            " that its login may see",
        )
    return names


def lag_seconds(address: Address) -> float | None:
    """How far the server is behind its primary; what cannot be seen is None."""
    try:
        with session(address, database="") as asking:
            return replication.state(asking, Edition.of(asking)).lag_seconds
    except HoldfastError:
        return None
