"""Rows back into tables, several tables at a time, biggest first."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from enum import Enum, auto

import psycopg

from holdfast.errors import RestoreFailed
from holdfast.model import Part, Relation
from holdfast.ports import OpenPart, Progress, RestoredTable
from holdfast.sources.postgres_native import failures
from holdfast.sources.postgres_native.copy_command import CANCEL_SECONDS
from holdfast.sources.postgres_native.endings import Endings
from holdfast.sources.postgres_native.login import Login
from holdfast.sources.postgres_native.quoting import qualified
from holdfast.sources.postgres_native.table_part import TablePart


class Before(Enum):
    """What happens to a table, in the transaction that fills it, before its rows come."""

    # The server may write rows frozen into a table truncated in the same transaction.
    TRUNCATE = auto()
    # Tables that others refer to cannot be truncated.
    DELETE = auto()
    NOTHING = auto()


class Loader:
    """Loads every part once; the first failure ends all the others."""

    def __init__(
        self, login: Login, open_part: OpenPart, progress: Progress, *, before: Before
    ) -> None:
        self._login = login
        self._open_part = open_part
        self._progress = progress
        self._before = before
        self._endings = Endings()
        self._lock = threading.Lock()
        self._first_failure: BaseException | None = None

    def load(self, parts: Sequence[Part], *, workers: int) -> list[RestoredTable]:
        """Every table with its rows as counted by the server; raises `RestoreFailed`."""
        waiting = deque(sorted(parts, key=lambda part: part.plain_bytes, reverse=True))
        sessions = max(1, min(workers, len(waiting)))
        with ThreadPoolExecutor(max_workers=sessions) as pool:
            try:
                for done in as_completed(
                    [pool.submit(self._work, waiting) for _ in range(sessions)]
                ):
                    done.result()
            except BaseException as error:
                # The others end because of the first one; only that one says why.
                first = self._ended_by(error)
                if first is error:
                    raise
                raise first from first.__cause__
        return _counted(parts)

    def _work(self, waiting: deque[Part]) -> None:
        try:
            with (
                self._login.session() as connection,
                self._endings.registered(
                    lambda: connection.cancel_safe(timeout=CANCEL_SECONDS),
                ),
            ):
                while waiting and not self._endings.aborted.is_set():
                    try:
                        part = waiting.popleft()
                    except IndexError:
                        return
                    self._load_one(connection, part)
                    self._progress.part_done(part.name)
        except BaseException as error:
            self._ended_by(error)
            raise

    def _ended_by(self, error: BaseException) -> BaseException:
        """End everything, and tell what came first."""
        with self._lock:
            if self._first_failure is None:
                self._first_failure = error
            first = self._first_failure
        self._endings.abort()
        return first

    def _load_one(self, connection: psycopg.Connection, part: Part) -> None:
        table = TablePart.of(part)
        subject = f"table '{part.relation}'"
        try:
            with connection.transaction():
                freeze = self._empty(connection, table)
                found = self._copy(connection, part, table.copy_in(freeze=freeze))
                if found != part.rows:
                    raise RestoreFailed(
                        f"cannot restore {subject}: {part.rows} rows were stored, {found} arrived",
                        hint="does a trigger or rule of the target table drop rows?",
                    )
        except psycopg.Error as error:
            raise failures.restoring(failures.said(error), subject) from error

    def _empty(self, connection: psycopg.Connection, table: TablePart) -> bool:
        """Whether rows may be written frozen."""
        if not table.owns_every_row:
            return False
        name = qualified(table.relation)
        if self._before is Before.TRUNCATE:
            connection.execute(f"TRUNCATE ONLY {name}".encode())
        elif self._before is Before.DELETE:
            connection.execute(f"DELETE FROM ONLY {name}".encode())  # noqa: S608  # quoted name
        return self._before is Before.TRUNCATE

    def _copy(self, connection: psycopg.Connection, part: Part, statement: str) -> int:
        with connection.cursor() as cursor:
            with self._open_part(part) as chunks, cursor.copy(statement.encode()) as copy:
                for chunk in chunks:
                    if self._endings.aborted.is_set():
                        raise RestoreFailed(f"cannot restore '{part.name}': the run was ended")
                    copy.write(chunk)
            return cursor.rowcount


def _counted(parts: Sequence[Part]) -> list[RestoredTable]:
    """Every part was held against the server's count before it was committed."""
    rows: Counter[Relation] = Counter()
    for part in parts:
        if part.relation is not None:
            rows[part.relation] += part.rows or 0
    return [
        RestoredTable(relation=relation, rows_expected=count, rows_found=count)
        for relation, count in rows.items()
    ]
