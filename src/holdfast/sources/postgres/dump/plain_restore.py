"""Bringing a dump in plain SQL back statement by statement: what fails costs nothing but itself.

psql cannot do it: where a COPY fails, it takes the rows behind it for statements.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

import psycopg

from holdfast.model.errors import RestoreFailed
from holdfast.model.proven import Proven
from holdfast.model.restored import FailedObject
from holdfast.sources.failed_objects import ROWS
from holdfast.sources.postgres.dump.plain_dump import COPY, PlainDump
from holdfast.sources.postgres.restore.definitions import Definer
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.statements import Statement

# pg_dump has no other transactions than those around the bytes of large objects.
_BEGINS, _ENDS = "BEGIN;", "COMMIT;"


class PlainRestore:
    """One session that carries a dump out; rows that do not come are `unloaded`."""

    def __init__(self, session: psycopg.Connection, proven: Proven, definer: Definer) -> None:
        self._session = session
        self._dump = PlainDump(iter(proven))
        self._definer = definer
        self.unloaded: list[FailedObject] = []

    def run(self) -> None:
        """Raises `RestoreFailed` for what no later statement would survive either."""
        self._definer.run(self._definitions())

    def _definitions(self) -> Iterator[Statement]:
        """All that is no rows; rows come in between, as what was set before them wants it."""
        found = self._dump.statements()
        for statement in found:
            if COPY.match(statement.text):
                self._load(statement)
            elif statement.text == _BEGINS:
                self._large_objects(takewhile(lambda each: each.text != _ENDS, found))
            else:
                yield statement

    def _load(self, statement: Statement) -> None:
        rows = self._dump.rows()
        try:
            with self._session.cursor() as cursor, cursor.copy(_bytes(statement.text)) as copy:
                for chunk in rows:
                    copy.write(chunk)
        except psycopg.Error as error:
            self._note(statement, error, kind=ROWS)
        except EOFError as error:
            raise RestoreFailed(f"cannot restore {_subject(statement)}: {error}") from error
        # Those behind the one that failed are no statements.
        for _ in rows:
            pass

    def _large_objects(self, found: Iterator[Statement]) -> None:
        last: Statement | None = None
        try:
            with self._session.transaction():
                for statement in found:
                    last = statement
                    self._session.execute(_bytes(statement.text))
        except psycopg.Error as error:
            if last is None:
                raise
            self._note(last, error, kind="large objects")
        for _ in found:
            pass

    def _note(self, statement: Statement, error: psycopg.Error, *, kind: str) -> None:
        if failures.ends_all(error, self._session):
            raise failures.restoring(failures.said(error), _subject(statement)) from error
        name = statement.heading.name if statement.heading else "unknown"
        self.unloaded.append(
            FailedObject(kind=kind, name=name, statement="", cause=failures.said(error))
        )


def _subject(statement: Statement) -> str:
    return f"rows of '{statement.heading.name}'" if statement.heading else "rows"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogateescape")
