"""Bringing a dump in plain SQL back statement by statement: what fails costs nothing but itself.

psql cannot do it: where a COPY fails, it takes the rows behind it for statements. The dump is cut
into statements and rows as it comes: nothing of it is held whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile

import psycopg

from holdfast.model.errors import RestoreFailed
from holdfast.model.restore import FailedObject, Proven
from holdfast.sources.failed_objects import ROWS
from holdfast.sources.postgres.restore.definitions import Definer
from holdfast.sources.postgres.server import failures, sql_text
from holdfast.sources.postgres.server.sql_text import Statement

COPY = re.compile(r"COPY .* FROM stdin;$", re.DOTALL)
# A line of its own in a dump; in a row its backslash would be doubled.
END_OF_ROWS = b"\\.\n"
# One function, or a piece of a large object, is far below; what is longer is no dump of ours.
MOST_STATEMENT_BYTES = 256 << 20

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


class PlainDump:
    """Statements in their order; behind one that is `COPY ... FROM stdin` its rows are to be taken.

    `chunks` are the bytes of the dump. Raises `EOFError` where rows have no end.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b""

    def statements(self) -> Iterator[Statement]:
        return sql_text.headed(self._pieces())

    def rows(self) -> Iterator[bytes]:
        """The rows of the COPY that came last, without the line that ends them."""
        at_start = True
        while True:
            if at_start and self._buffer.startswith(END_OF_ROWS):
                self._buffer = self._buffer[len(END_OF_ROWS) :]
                return
            end = self._buffer.find(b"\n" + END_OF_ROWS)
            if end >= 0:
                rows, self._buffer = self._buffer[: end + 1], self._buffer[end + 4 :]
                yield rows
                return
            # The line that ends them may be cut by the end of a chunk.
            ready = len(self._buffer) - len(END_OF_ROWS)
            if ready > 0:
                rows, self._buffer = self._buffer[:ready], self._buffer[ready:]
                at_start = False
                yield rows
            if not self._more():
                raise EOFError("the rows of a table have no end")

    def _pieces(self) -> Iterator[str]:
        """Whole statements with what stands before each, as soon as there are any."""
        while True:
            yield from self._whole_pieces()
            if len(self._buffer) > MOST_STATEMENT_BYTES:
                raise RestoreFailed(
                    f"cannot read a dump: a statement has more than {MOST_STATEMENT_BYTES} bytes"
                )
            if not self._more():
                break
        if self._buffer:
            yield _text(self._buffer)

    def _whole_pieces(self) -> Iterator[str]:
        """Those that end in the whole lines at hand; what begins behind them stays."""
        is_before_rows = True
        while is_before_rows:
            is_before_rows, done = False, 0
            lines = self._buffer[: self._buffer.rfind(b"\n") + 1]
            for piece in sql_text.split(_text(lines)):
                if not piece.endswith(";"):
                    break
                done += len(_bytes(piece))
                is_before_rows = bool(COPY.match(piece, sql_text.start_of(piece)))
                if is_before_rows:
                    # Whoever takes the rows takes them from the buffer, line by line.
                    done += 1
                    break
                yield piece
            self._buffer = self._buffer[done:]
            if is_before_rows:
                yield piece

    def _more(self) -> bool:
        chunk = next(self._chunks, b"")
        self._buffer += chunk
        return bool(chunk)


def _subject(statement: Statement) -> str:
    return f"rows of '{statement.heading.name}'" if statement.heading else "rows"


def _text(found: bytes) -> str:
    return found.decode("utf-8", errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogateescape")
