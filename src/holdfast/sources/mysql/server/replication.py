"""Whether this server applies the changes of another one, and how far it is behind."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.model.errors import HoldfastError
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.version import ServerVersion

RUNNING = ("slave_sql_running", "replica_sql_running")
BEHIND = ("seconds_behind_master", "seconds_behind_source")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """What the server tells of its own sources; `applies` is False where all are stopped."""

    is_replica: bool
    applies: bool
    lag_seconds: float | None


NONE = Replication(is_replica=False, applies=False, lag_seconds=None)


def state(asking: Session, edition: ServerVersion) -> Replication:
    """Of all sources the one furthest behind; `NONE` where the login may not know."""
    question = "SHOW ALL SLAVES STATUS" if edition.mariadb else "SHOW REPLICA STATUS"
    try:
        rows = asking.named(question)
    except HoldfastError:
        return NONE
    return of_status(rows)


def of_status(rows: list[dict[str, str]]) -> Replication:
    """Read the rows that SHOW REPLICA STATUS answers, names in any case."""
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
