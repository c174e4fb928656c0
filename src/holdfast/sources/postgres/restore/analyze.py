"""Statistics of a restored database: advice for the planner, which no restore may fail for."""

from __future__ import annotations

import threading

import psycopg

from holdfast.sources.postgres.restore.session_pool import SessionPool
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.login import Login

# Biggest first. A partitioned table's own statistics are of all its partitions.
_TO_ANALYZE = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY c.relpages DESC
"""


def everything(login: Login, *, workers: int) -> tuple[str, ...]:
    """Gather all of them; of which tables there are none, and why."""
    missing: list[str] = []
    lock = threading.Lock()

    def learn(session: psycopg.Connection, table: str) -> None:
        try:
            session.execute(f"ANALYZE {table}".encode())
        except psycopg.Error as error:
            if failures.ends_all(error, session):
                raise failures.restoring(failures.said(error), f"statistics of {table}") from error
            with lock:
                missing.append(f"no statistics of table {table}: {failures.said(error)}")

    with login.session() as session:
        tables = [str(row[0]) for row in session.execute(_TO_ANALYZE)]
    SessionPool(login, learn).run(tables, workers=workers)
    return tuple(sorted(missing))


def make_durable(login: Login) -> None:
    """The last commit reaches the disk, and with it everything before it."""
    with login.session() as session:
        try:
            session.execute("SELECT pg_current_xact_id()")
        except psycopg.Error as error:
            subject = f"database '{login.database}'"
            raise failures.restoring(failures.said(error), subject) from error
