"""What a throw-away PostgreSQL server proves: its own checks, and the answers to the job's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import pq

from holdfast.model.drill import Answer, Outcome, ProofRow
from holdfast.model.errors import CheckRefused, DrillFailed
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.sql_text import identifier

AMCHECK = "amcheck"
# Bad rows beyond this say nothing new, and a record is no place for a million of them.
MOST_BAD = 100
_AVAILABLE = "SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'"
_SCHEMA = """
SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'amcheck'
"""
_INDEXES = """
SELECT c.oid, c.oid::regclass::text FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence <> 't'
  AND i.indisready AND i.indisvalid
ORDER BY c.relpages DESC
"""
_TABLES = """
SELECT c.oid, c.oid::regclass::text FROM pg_class c JOIN pg_am a ON a.oid = c.relam
WHERE a.amname = 'heap' AND c.relkind IN ('r', 't', 'm') AND c.relpersistence <> 't'
ORDER BY c.relpages DESC
"""
_TABLE_PROBLEM = """
SELECT string_agg(msg, '; ') FROM (SELECT msg FROM {}.verify_heapam(%s) LIMIT 3) AS found
"""
# The statement itself is no SELECT, is several, or changes something.
_NO_SELECT = {"42601", "0A000", "42P11", "25006"}


def amcheck(login: Login) -> Iterator[ProofRow]:
    """Check each B-tree index and each table of the database; nothing of it stays there."""
    with _told(), login.session() as session, session.transaction(force_rollback=True):
        if session.execute(_AVAILABLE).fetchone() is None:
            yield ProofRow(
                name=f"{AMCHECK} of '{login.database}'",
                outcome=Outcome.SKIPPED,
                detail="this host does not have the extension amcheck (package postgresql-contrib)",
            )
            return
        session.execute("CREATE EXTENSION IF NOT EXISTS amcheck SCHEMA pg_catalog")
        (schema,) = session.execute(_SCHEMA).fetchone() or ("pg_catalog",)
        yield from _checked(session, identifier(str(schema)), login.database)


def _checked(session: psycopg.Connection, schema: str, database: str) -> Iterator[ProofRow]:
    counts = {"index": 0, "table": 0}
    bad: list[ProofRow] = []
    for kind, query in (("index", _INDEXES), ("table", _TABLES)):
        for oid, name in session.execute(query).fetchall():
            counts[kind] += 1
            problem = _problem(session, schema, kind=kind, oid=int(oid))
            if problem and len(bad) < MOST_BAD:
                bad.append(
                    ProofRow(
                        name=f"{AMCHECK} of {kind} {name}", outcome=Outcome.FAILED, detail=problem
                    )
                )
    yield from bad
    yield ProofRow(
        name=f"{AMCHECK} of '{database}'",
        outcome=Outcome.FAILED if bad else Outcome.PASSED,
        expected="no damage",
        found=f"{len(bad)} damaged" if bad else "no damage",
        detail=f"indexes: {counts['index']}, tables: {counts['table']}",
    )


def _problem(session: psycopg.Connection, schema: str, *, kind: str, oid: int) -> str:
    """What is wrong with the index or table; empty if nothing is."""
    try:
        with session.transaction():
            if kind == "index":
                session.execute(f"SELECT {schema}.bt_index_check(%s, true)".encode(), [oid])
                return ""
            found = session.execute(_TABLE_PROBLEM.format(schema).encode(), [oid]).fetchone()
            return str(found[0]) if found and found[0] else ""
    except psycopg.OperationalError as error:
        if failures.session_is_gone(error, session):
            raise DrillFailed(f"cannot check the restored data: {failures.said(error)}") from error
        return failures.said(error)
    except psycopg.Error as error:
        return failures.said(error)


def answer(login: Login, sql: str, *, timeout_seconds: float) -> Answer:
    """The first row of one SELECT; raises `CheckRefused`, `DrillFailed`.

    DECLARE CURSOR takes one SELECT that changes no row, and nothing else.
    """
    statement = sql.strip().rstrip(";").rstrip()
    milliseconds = max(1, round(timeout_seconds * 1000))
    with _told(), login.session() as session:
        session.execute("BEGIN TRANSACTION READ ONLY")
        session.execute(f"SET LOCAL statement_timeout = {milliseconds}".encode())
        # Statements of people use their usual search path.
        session.execute("RESET search_path")
        session.execute("RESET jit")
        _sent(session, f"DECLARE holdfast_check NO SCROLL CURSOR FOR {statement}")
        found = _sent(session, "FETCH FORWARD 2 FROM holdfast_check")
        if not found.ntuples:
            return Answer(rows=0, value=None)
        value = found.get_value(0, 0) if found.nfields else None
        text = None if value is None else value.decode(errors="replace")
        return Answer(rows=found.ntuples, value=text)


@contextmanager
def _told() -> Iterator[None]:
    """Translates the errors of a server that ends, or lacks what it is asked for."""
    try:
        yield
    except psycopg.Error as error:
        raise DrillFailed(f"cannot check the restored data: {failures.said(error)}") from error


def _sent(session: psycopg.Connection, text: str) -> pq.abc.PGresult:
    """The result of one statement: this protocol refuses several in one text."""
    found = session.pgconn.exec_params(text.encode(), None)
    if found.status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
        return found
    said = found.error_message.decode(errors="replace").strip().partition("\n")[0]
    message = f"cannot run the check: {said.removeprefix('ERROR:').strip()}"
    state = found.error_field(pq.DiagnosticField.SQLSTATE) or b""
    if state.decode() in _NO_SELECT:
        raise CheckRefused(message, hint="a check is one SELECT, which may not change anything")
    raise DrillFailed(message)
