"""Which databases of a server a job covers, and the server's replication lag."""

from __future__ import annotations

from holdfast.model.backup import Selection
from holdfast.model.errors import DatabaseUnreachable, HoldfastError
from holdfast.model.lazy_dataclass import dataclass
from holdfast.sources.mysql.server.connection import Address, StatementFailed
from holdfast.sources.mysql.server.session import ServerVersion, Session, session

RUNNING = ("slave_sql_running", "replica_sql_running")
BEHIND = ("seconds_behind_master", "seconds_behind_source")
# The server's own databases: accounts and rights are backed up with the databases they concern.
SYSTEM = ("information_schema", "mysql", "performance_schema", "sys")
DATABASES = """
    SELECT s.schema_name
    FROM information_schema.schemata s
    LEFT JOIN (SELECT table_schema, SUM(COALESCE(data_length, 0)) AS size
               FROM information_schema.tables GROUP BY table_schema) t
      ON t.table_schema = s.schema_name
    ORDER BY COALESCE(t.size, 0) DESC, s.schema_name"""


def chosen(selection: Selection, address: Address) -> list[str]:
    """The selected names, biggest database first; raises `DatabaseUnreachable` if none fits."""
    with session(address, database="") as asking:
        known = [name for name in _by_size(asking) if name.lower() not in SYSTEM]
    names = selection.of(known)
    if not names:
        raise DatabaseUnreachable(
            "cannot find a database to back up: no name matches the selection of the job",
            hint="check databases and exclude_databases of the job; SHOW DATABASES lists the names"
            " that its login may see",
        )
    return names


def _by_size(asking: Session) -> list[str]:
    """All databases, biggest first; by name where a table's size cannot be read.

    The server must open a table to tell its size, and cannot where the rows are stored elsewhere.
    """
    try:
        rows = asking.text(DATABASES)
    except StatementFailed:
        rows = asking.text("SELECT schema_name FROM information_schema.schemata ORDER BY 1")
    return [name for (name,) in rows]


def lag_seconds(address: Address) -> float | None:
    """How far the server is behind its primary; None where that cannot be seen."""
    try:
        with session(address, database="") as asking:
            return state(asking, ServerVersion.of(asking)).lag_seconds
    except HoldfastError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """The server's state as a replica; `applies` is False where all of its sources are stopped."""

    is_replica: bool
    applies: bool
    lag_seconds: float | None


NONE = Replication(is_replica=False, applies=False, lag_seconds=None)


def state(asking: Session, version: ServerVersion) -> Replication:
    """The state as a replica, with the largest lag of all sources; `NONE` where not visible."""
    question = "SHOW ALL SLAVES STATUS" if version.mariadb else "SHOW REPLICA STATUS"
    try:
        rows = asking.named(question)
    except HoldfastError:
        return NONE
    return of_status(rows)


def of_status(rows: list[dict[str, str]]) -> Replication:
    """Parse the rows of SHOW REPLICA STATUS; column names may be in any case."""
    if not rows:
        return NONE
    sources = [{name.lower(): value for name, value in row.items()} for row in rows]
    behind = [_first(source, BEHIND) for source in sources]
    return Replication(
        is_replica=True,
        applies=any(_first(source, RUNNING) == "Yes" for source in sources),
        lag_seconds=max((float(each) for each in behind if each), default=None),
    )


def _first(source: dict[str, str], names: tuple[str, ...]) -> str:
    return next((source[name] for name in names if name in source), "")
