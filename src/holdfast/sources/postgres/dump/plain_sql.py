"""Restores a dump in plain SQL statement by statement: a failed one does not stop the rest.

psql cannot do that: after a failed COPY it takes the rows for statements. The dump is split into
statements and rows as it is streamed, and is never held as a whole.
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
# The end of rows stands alone on a line; in a row its backslash would be doubled.
END_OF_ROWS = b"\\.\n"
# One function, or a piece of a large object, is far shorter; no dump of pg_dump needs more.
MOST_STATEMENT_BYTES = 256 << 20

# pg_dump writes transactions only around the bytes of large objects.
_BEGINS, _ENDS = "BEGIN;", "COMMIT;"


class PlainRestore:
    """Runs a dump in one session; rows that could not be loaded are noted in `unloaded`."""

    def __init__(self, session: psycopg.Connection, proven: Proven, definer: Definer) -> None:
        self._session = session
        self._dump = PlainDump(iter(proven))
        self._definer = definer
        self.unloaded: list[FailedObject] = []

    def run(self) -> None:
        """Run the dump. Raises `RestoreFailed` for errors that would also hit later statements."""
        self._definer.run_each(self._definitions())

    def _definitions(self) -> Iterator[Statement]:
        """The definitions; rows and large objects between them are loaded on the way, under the
        settings before them."""
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
        # The rows after a failed one must not be taken for statements.
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
    """Statements in their order; after a `COPY ... FROM stdin` the caller must read its `rows`.

    `chunks` are the bytes of the dump. Raises `EOFError` if the end of rows is missing.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b""

    def statements(self) -> Iterator[Statement]:
        return sql_text.headed(self._pieces())

    def rows(self) -> Iterator[bytes]:
        """The rows of the last COPY, without the line that ends them."""
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
            # The end of a chunk may cut the line that ends the rows.
            ready = len(self._buffer) - len(END_OF_ROWS)
            if ready > 0:
                rows, self._buffer = self._buffer[:ready], self._buffer[ready:]
                at_start = False
                yield rows
            if not self._more():
                raise EOFError("the end of a table's rows is missing")

    def _pieces(self) -> Iterator[str]:
        """Whole statements, each with the comments before it, as soon as they are complete."""
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
        """The statements that end within the buffered whole lines; the rest stays buffered."""
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
                    # Skip the end of line: the rows begin at the next line of the buffer.
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
