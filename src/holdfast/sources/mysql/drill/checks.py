"""The server's own judgement of restored tables, and the answers to the checks of a job."""

from __future__ import annotations

import re
from collections.abc import Iterator

from holdfast.model.drill import Answer, Outcome, ProofRow
from holdfast.model.errors import CheckRefused, DrillFailed
from holdfast.sources.mysql.server.connection import ConnectionLost, StatementFailed
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.sql import quoted
from holdfast.sources.mysql.server.tables import ENGINES_WITHOUT_ROWS

SYSTEM = ("information_schema", "performance_schema", "sys", "mysql")
TABLES = """
    SELECT table_schema, table_name, COALESCE(engine, ''), COALESCE(table_comment, '')
    FROM information_schema.tables
    WHERE table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') {where}
    ORDER BY table_schema, table_name"""
GOOD = {"ok", "table is already up to date"}
BAD = {"error", "warning"}
# What the server says of a table that its engine cannot check, and of one without partitions.
NO_CHECK = "doesn't support check"
READ_ONLY_REFUSED, SEVERAL, KILLED = 1792, 1064, (1317, 1969, 3024)
_LEADING = re.compile(r"(?:\s|--[^\n]*\n|#[^\n]*\n|/\*(?!!|M!).*?\*/|\()*", re.DOTALL)
_READS = re.compile(r"(?:SELECT|WITH|TABLE|VALUES)\b", re.IGNORECASE)


def checked_tables(asking: Session, database: str = "") -> Iterator[ProofRow]:
    """One row for each table of `database`, or of all that are not the server's own.

    Raises `ConnectionLost` if the server ends over one, after the row of that table.
    """
    where = "AND table_schema = %s" if database else f"AND table_schema NOT IN {SYSTEM}"
    values = (database,) if database else ()
    for schema, name, engine, comment in asking.text(TABLES.format(where=where), *values):
        title = f"CHECK TABLE {schema}.{name}"
        if engine.upper() in ENGINES_WITHOUT_ROWS:
            told = f"engine {engine} has no rows of its own"
            yield ProofRow(name=title, outcome=Outcome.SKIPPED, detail=told)
        elif not engine:
            told = comment or "its engine is unknown"
            yield ProofRow(name=title, outcome=Outcome.FAILED, expected="OK", found=told)
        else:
            yield _checked(asking, title, f"{quoted(schema)}.{quoted(name)}")
        if not asking.alive:
            raise ConnectionLost(f"it ended over table '{schema}.{name}'")


def _checked(asking: Session, title: str, table: str) -> ProofRow:
    try:
        answers = asking.text(f"CHECK TABLE {table} EXTENDED")
    except (ConnectionLost, StatementFailed) as error:
        return ProofRow(name=title, outcome=Outcome.FAILED, expected="OK", found=error.message)
    return judged(title, [(kind.lower(), text) for _, _, kind, text in answers])


def judged(title: str, answers: list[tuple[str, str]]) -> ProofRow:
    """The row for what CHECK TABLE said: pairs of a kind of message and its text."""
    if any(NO_CHECK in text for _, text in answers):
        return ProofRow(name=title, outcome=Outcome.SKIPPED, detail="its engine has no such check")
    bad = [text for kind, text in answers if kind in BAD]
    is_good = bool(answers) and answers[-1][1].lower() in GOOD and not bad
    told = "; ".join(bad or [text for _, text in answers]) or "nothing"
    outcome = Outcome.PASSED if is_good else Outcome.FAILED
    return ProofRow(name=title, outcome=outcome, expected="OK", found=told[:1000])


def answered(asking: Session, sql: str, *, timeout_seconds: float) -> Answer:
    """The answer to one SELECT, in a transaction that only reads.

    Raises `CheckRefused` and `DrillFailed`.
    """
    require_reading(sql)
    _limit(asking, timeout_seconds)
    asking.run("START TRANSACTION READ ONLY")
    try:
        with asking.streamed(sql.strip().rstrip(";")) as rows:
            first = next(rows, None)
            more = next(rows, None) if first is not None else None
    except StatementFailed as error:
        raise _failed(sql, error, timeout_seconds) from error
    if first is None:
        return Answer(rows=0, value=None)
    value = first[0]
    text = None if value is None else value.decode(errors="replace")
    return Answer(rows=1 if more is None else 2, value=text)


def require_reading(sql: str) -> None:
    """Raises `CheckRefused` for a statement that begins as none that only reads."""
    begins = _LEADING.match(sql)
    if not _READS.match(sql, begins.end() if begins else 0):
        raise _refused(sql, "it does not begin with SELECT, WITH, TABLE or VALUES")


def _limit(asking: Session, timeout_seconds: float) -> None:
    """Have the server end a statement in time; MariaDB counts seconds, MySQL milliseconds."""
    if asking.variable("max_statement_time"):
        asking.configure(max_statement_time=str(timeout_seconds))
    else:
        asking.configure(max_execution_time=max(1, int(timeout_seconds * 1000)))


def _failed(sql: str, error: StatementFailed, timeout_seconds: float) -> Exception:
    if error.code == READ_ONLY_REFUSED:
        return _refused(sql, "it changes data")
    if error.code == SEVERAL and ";" in sql.strip().rstrip(";"):
        return _refused(sql, f"it is more than one statement, or none ({error.message})")
    if error.code in KILLED:
        return DrillFailed(f"cannot check '{_short(sql)}': it took more than {timeout_seconds:g} s")
    return DrillFailed(f"cannot check '{_short(sql)}': {error.message}")


def _refused(sql: str, cause: str) -> CheckRefused:
    return CheckRefused(f"cannot check '{_short(sql)}': {cause}", hint="write it as one SELECT")


def _short(sql: str) -> str:
    return " ".join(sql.split())[:200]
