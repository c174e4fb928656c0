"""Which databases of a server a job covers, and how far the server lags."""

from __future__ import annotations

from holdfast.model.backup import Selection
from holdfast.model.errors import DatabaseUnreachable, HoldfastError
from holdfast.sources.mysql.server import replication
from holdfast.sources.mysql.server.address import Address
from holdfast.sources.mysql.server.failures import StatementFailed
from holdfast.sources.mysql.server.session import Session, session
from holdfast.sources.mysql.server.version import ServerVersion

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
        known = [name for name in _by_size(asking) if name.lower() not in SYSTEM]
    names = selection.of(known)
    if not names:
        raise DatabaseUnreachable(
            "cannot find a database to back up: none has a name that was asked for",
            hint="see databases and exclude_databases of the job; SHOW DATABASES lists the names"
            " that its login may see",
        )
    return names


def _by_size(asking: Session) -> list[str]:
    """All databases; by their names where one has a table that the server cannot open to tell its
    size, as its rows are elsewhere."""
    try:
        rows = asking.text(DATABASES)
    except StatementFailed:
        rows = asking.text("SELECT schema_name FROM information_schema.schemata ORDER BY 1")
    return [name for (name,) in rows]


def lag_seconds(address: Address) -> float | None:
    """How far the server is behind its primary; what cannot be seen is None."""
    try:
        with session(address, database="") as asking:
            return replication.state(asking, ServerVersion.of(asking)).lag_seconds
    except HoldfastError:
        return None
