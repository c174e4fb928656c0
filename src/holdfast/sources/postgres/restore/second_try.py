"""What failed once is tried again, once all else is there, and with names looked up as usual.

A dump is restored with an empty search path. What calls a function of the database by its bare
name, in a body or an expression, never works so: it does under the path that the database, or the
role, has anyway. Only where a restore keeps going: else it ends at what a stock restore ends at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import psycopg

from holdfast.model.errors import RestoreFailed, VerifyFailed
from holdfast.model.restore import FailedObject
from holdfast.sources.postgres.restore.definitions import PREAMBLE
from holdfast.sources.postgres.restore.load import Unloaded, restoring
from holdfast.sources.postgres.restore.rows import Packs, RowsIn
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.sql_text import Statement

_PATH = re.compile(r'ALTER DATABASE :"DBNAME" SET "search_path" TO (?P<path>.*);$', re.DOTALL)
# One object may have waited for another that failed.
ROUNDS = 5


def usual_path(settings: Iterable[Statement]) -> str:
    """The statement that looks names up as a session of the database does."""
    for statement in settings:
        if found := _PATH.match(statement.text):
            return f"SET search_path TO {found['path']}"
    return "RESET search_path"


def rows(
    session: psycopg.Connection, path: str, rows_in: RowsIn, unloaded: Sequence[Unloaded]
) -> list[Unloaded]:
    """Those that cannot be loaded this way either."""
    packs = Packs(rows_in.stored)
    session.execute(path.encode())
    return [
        replace(each, error=error)
        for each in unloaded
        if (error := _loaded(session, rows_in, packs, each))
    ]


def _loaded(
    session: psycopg.Connection, rows_in: RowsIn, packs: Packs, unloaded: Unloaded
) -> RestoreFailed | None:
    """Why its rows cannot be loaded; None once they are."""
    if isinstance(unloaded.error, VerifyFailed):
        return RestoreFailed(unloaded.error.message, hint=unloaded.error.hint)
    subject = f"table '{unloaded.piece.relation}'"
    try:
        with session.transaction(), packs.opened(unloaded.part, unloaded.piece) as found:
            rows_in.fill(session, unloaded.piece, found)
    except (psycopg.Error, EOFError, RestoreFailed) as error:
        if isinstance(error, psycopg.Error) and failures.ends_all(error, session):
            raise restoring(subject, error) from error
        return RestoreFailed(restoring(subject, error).message)
    return None


def objects(
    session: psycopg.Connection, path: str, failed: Sequence[FailedObject]
) -> tuple[FailedObject, ...]:
    """Those that cannot be made this way either, with what they met now."""
    for statement in (PREAMBLE, path):
        session.execute(statement.encode())
    left = list(failed)
    for _ in range(ROUNDS):
        before = len(left)
        left = [still for each in left if (still := _made(session, each))]
        if len(left) in (0, before):
            break
    return tuple(left)


def _made(session: psycopg.Connection, failed: FailedObject) -> FailedObject | None:
    """None once it is made."""
    if not failed.statement:
        return failed
    try:
        session.execute(failed.statement.encode("utf-8", errors="surrogateescape"))
    except psycopg.Error as error:
        if failures.ends_all(error, session):
            raise failures.restoring(
                failures.said(error), f"{failed.kind} '{failed.name}'"
            ) from error
        return failed
    return None
