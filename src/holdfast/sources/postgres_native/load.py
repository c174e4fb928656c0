"""Rows back into tables, several tables at a time, biggest first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

import psycopg

from holdfast.errors import HoldfastError, RestoreFailed
from holdfast.model import Member, Part, Relation
from holdfast.ports import Progress, RestoreRequest
from holdfast.proven import StoredParts, proving
from holdfast.restored import RestoredTable
from holdfast.sources.cutting import Cutter
from holdfast.sources.endings import Endings
from holdfast.sources.postgres_native import failures, selection
from holdfast.sources.postgres_native.crew import Crew
from holdfast.sources.postgres_native.login import Login
from holdfast.sources.postgres_native.marked import with_values
from holdfast.sources.postgres_native.quoting import qualified
from holdfast.sources.postgres_native.table_part import TablePart
from holdfast.sources.postgres_native.transport_in import Inward

NO_TRIGGERS = "SET session_replication_role = replica"


# What rows can do that are not those that were stored.
_BY_ROWS = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProtocolViolation, EOFError)


class Before(Enum):
    """What happens to a table, in the transaction that fills it, before its rows come."""

    # The server may write rows frozen into a table truncated in the same transaction.
    TRUNCATE = auto()
    # Tables that others refer to cannot be truncated.
    DELETE = auto()
    NOTHING = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Parts that are loaded in one transaction; `freeze` where nothing else fills their table."""

    parts: tuple[Part, ...]
    freeze: bool

    @property
    def plain_bytes(self) -> int:
        return sum(part.plain_bytes for part in self.parts)


def batches(parts: Sequence[Part], before: Before) -> list[Batch]:
    """Ranges of one table may come side by side only where nothing has to be removed first."""
    by_table: defaultdict[Relation | str, list[Part]] = defaultdict(list)
    for part in parts:
        by_table[part.relation or part.name].append(part)
    made: list[Batch] = []
    for of_table in by_table.values():
        if before is Before.TRUNCATE and len(of_table) > 1:
            made += [Batch(parts=(part,), freeze=False) for part in of_table]
        else:
            freeze = before is Before.TRUNCATE and of_table[0].relation is not None
            made.append(Batch(parts=tuple(of_table), freeze=freeze))
    return sorted(made, key=lambda batch: batch.plain_bytes, reverse=True)


class Loader:
    """Loads every part once; the first failure ends all the others."""

    def __init__(
        self,
        login: Login,
        request: RestoreRequest,
        stored: StoredParts,
        progress: Progress,
        inward: Inward,
        *,
        before: Before,
    ) -> None:
        self._login = login
        self._request = request
        self._stored = stored
        self._progress = progress
        self._inward = inward
        self._before = before
        self._endings = Endings()

    def load(self, parts: Sequence[Part], *, workers: int) -> list[RestoredTable]:
        """Every table with its rows as counted by the server; raises `RestoreFailed`."""
        crew = Crew(self._login, self._load, endings=self._endings, prepare=self._prepare)
        crew.run(batches(parts, self._before), workers=workers)
        return _counted(parts, self._request)

    def _prepare(self, connection: psycopg.Connection) -> None:
        if self._request.triggers:
            return
        try:
            connection.execute(NO_TRIGGERS)
        except psycopg.Error as error:
            raise failures.restoring(failures.said(error), "rows without triggers") from error

    def _load(self, connection: psycopg.Connection, batch: Batch) -> None:
        subject = f"'{batch.parts[0].relation or batch.parts[0].name}'"
        try:
            with connection.transaction():
                emptied: set[Relation] = set()
                for part in batch.parts:
                    with self._stored.streamed(part) as chunks, proving(chunks, *_BY_ROWS):
                        for piece, rows in self._pieces(part, iter(chunks)):
                            subject = f"table '{piece.relation}'"
                            self._fill(connection, piece, rows, emptied, freeze=batch.freeze)
        except psycopg.Error as error:
            raise failures.restoring(failures.said(error), subject) from error
        except EOFError as error:
            raise failures.restoring(f"its part is cut short: {error}", subject) from error
        for part in batch.parts:
            self._progress.part_done(part.name)

    def _pieces(
        self, part: Part, chunks: Iterator[bytes]
    ) -> Iterator[tuple[Part | Member, Iterable[bytes | memoryview]]]:
        """Each table that is wanted of the part, with its rows."""
        if not part.members:
            yield part, chunks
            return
        script = Cutter(chunks)
        for member in part.members:
            if selection.is_wanted(member, self._request):
                script.skip_to(member.offset)
                yield member, script.take(member.plain_bytes)
        script.drain()

    def _fill(
        self,
        connection: psycopg.Connection,
        piece: Part | Member,
        chunks: Iterable[bytes | memoryview],
        emptied: set[Relation],
        *,
        freeze: bool,
    ) -> None:
        table = TablePart.of(piece)
        if table.owns_every_row and table.relation not in emptied:
            emptied.add(table.relation)
            self._empty(connection, table, freeze=freeze)
        statement = table.copy_in(
            freeze=freeze and table.owns_every_row, source=self._inward.placeholder
        )
        rows = self._with_values(table, chunks)
        found = self._inward.copy(connection, statement, self._while_wanted(rows, table))
        if found != piece.rows:
            raise RestoreFailed(
                f"cannot restore table '{table.relation}': {piece.rows} rows were stored,"
                f" {found} arrived",
                hint="does a trigger or rule of the target table drop rows?",
            )

    def _empty(self, connection: psycopg.Connection, table: TablePart, *, freeze: bool) -> None:
        name = qualified(table.relation)
        if freeze:
            connection.execute(f"TRUNCATE ONLY {name}".encode())
        elif self._before is Before.DELETE:
            connection.execute(f"DELETE FROM ONLY {name}".encode())  # noqa: S608  # quoted name

    def _with_values(
        self, table: TablePart, chunks: Iterable[bytes | memoryview]
    ) -> Iterable[bytes | memoryview]:
        if table.external is None:
            return chunks
        if self._request.open_blob is None:
            raise HoldfastError(f"cannot restore table '{table.relation}': no blobs are at hand")
        return with_values(
            (bytes(chunk) for chunk in chunks), table.external, self._request.open_blob
        )

    def _while_wanted(
        self, chunks: Iterable[bytes | memoryview], table: TablePart
    ) -> Iterator[bytes | memoryview]:
        for chunk in chunks:
            if self._endings.aborted.is_set():
                raise RestoreFailed(f"cannot restore '{table.relation}': the run was ended")
            yield chunk


def _counted(parts: Sequence[Part], request: RestoreRequest) -> list[RestoredTable]:
    """Every table was held against the server's count before it was committed."""
    rows: Counter[Relation] = Counter()
    for part in parts:
        if part.relation is not None:
            rows[part.relation] += part.rows or 0
        for member in part.members:
            if selection.is_wanted(member, request):
                rows[member.relation] += member.rows
    return [
        RestoredTable(relation=relation, rows_expected=count, rows_found=count)
        for relation, count in rows.items()
    ]
