"""Loads rows into new tables, a batch in a transaction."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace

import psycopg

from holdfast.model.backup import Part, Relation
from holdfast.model.errors import HoldfastError, RestoreFailed, VerifyFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.restore import FailedObject, RestoredTable, StoredParts, Streamed, proving
from holdfast.ports.target import RestoreRequest
from holdfast.runtime.cleanup import afterwards
from holdfast.sources.failed_objects import ROWS, hinted
from holdfast.sources.postgres.restore import selection
from holdfast.sources.postgres.restore.copy_series import CopySeries
from holdfast.sources.postgres.restore.rows import BY_ROWS, Packs, Piece, Rows, RowsIn
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.sql_text import qualified
from holdfast.sources.postgres.server.table_part import TEXT, TablePart

# A table of at most this many times the share of each worker is loaded by one of them: what the
# others would gain is less than what frozen rows save.
MOST_SHARE = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Parts that one session loads in one transaction; `freeze` if no other part fills their
    table."""

    parts: tuple[Part, ...]
    freeze: bool = False

    @property
    def plain_bytes(self) -> int:
        return sum(part.plain_bytes for part in self.parts)


def batches(parts: Sequence[Part], *, workers: int, keep_going: bool = False) -> list[Batch]:
    """Biggest first. Ranges of a table load in parallel only if it is too large for one session.

    Rows that are frozen are written once. Others are written again when the next scan marks them
    as visible, and with checksums all of their pages also go to the WAL. But FREEZE needs a
    transaction that empties the table and loads all rows, so a failed range cannot be left out.
    Ranges of text follow one another in one COPY: each COPY may leave empty pages behind its rows.
    """
    by_table: defaultdict[Relation | str, list[Part]] = defaultdict(list)
    for part in parts:
        by_table[part.relation or part.name].append(part)
    most = MOST_SHARE * sum(part.plain_bytes for part in parts) / workers
    made: list[Batch] = []
    for members in by_table.values():
        whole = Batch(parts=tuple(members), freeze=_is_frozen(members[0]))
        is_text = whole.freeze and TablePart.of(members[0]).format == TEXT
        if len(members) == 1 or (is_text and not keep_going and whole.plain_bytes <= most):
            made.append(whole)
        else:
            made += [Batch(parts=(part,)) for part in members]
    return sorted(made, key=lambda batch: batch.plain_bytes, reverse=True)


def _is_frozen(part: Part) -> bool:
    return part.relation is not None and TablePart.of(part).owns_every_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Unloaded:
    """Rows that could not be loaded into their table, and the error."""

    part: Part
    piece: Piece
    error: HoldfastError

    @property
    def failed(self) -> FailedObject:
        cause = self.error.message.removeprefix(f"cannot restore table '{self.piece.relation}': ")
        return FailedObject(kind=ROWS, name=str(self.piece.relation), statement="", cause=cause)


class Loader:
    """Loads batches, except the tables in `without`; with `keep_going`, failed rows are noted in
    `unloaded`."""

    def __init__(self, rows_in: RowsIn, *, without: frozenset[Relation] = frozenset()) -> None:
        self.cancellation = rows_in.cancellation
        self._rows_in = rows_in
        self._keeps_going = rows_in.context.request.options.keep_going
        self._without = without
        self._lock = threading.Lock()
        self.unloaded: list[Unloaded] = []

    def batches(self) -> list[Batch]:
        request = self._rows_in.context.request
        return batches(
            selection.data_parts(request), workers=request.workers, keep_going=self._keeps_going
        )

    def lacking(self) -> set[Relation]:
        """The tables that lack rows so far, and the partitioned tables above them."""
        with self._lock:
            return {relation for each in self.unloaded for relation in each.piece.relations}

    def load(self, connection: psycopg.Connection, batch: Batch) -> None:
        """Raises `RestoreFailed`."""
        loading = _Loading(batch)
        try:
            with connection.transaction():
                if len(batch.parts) > 1:
                    self._fill_by_ranges(connection, loading)
                else:
                    self._read(connection, loading)
        except VerifyFailed as error:
            if not self._keeps_going:
                raise
            # No row of the part is proven, not even those read before the mismatch showed at its
            # end, and all were rolled back.
            loading.met = [
                Unloaded(part=loading.part, piece=piece, error=error)
                for piece in self._wanted(loading.part)
            ]
        except (psycopg.Error, EOFError, RestoreFailed) as error:
            raise hinted(failures.restoring_rows(loading.subject, error)) from error
        with self._lock:
            self.unloaded += loading.met
        for part in batch.parts:
            self._rows_in.context.progress.part_done(part.name)

    def _read(self, connection: psycopg.Connection, loading: _Loading) -> None:
        part = loading.part
        with self._rows_in.context.stored.streamed(part) as chunks, proving(chunks, *BY_ROWS):
            if part.members and not self._keeps_going:
                self._fill_pack(connection, loading, iter(chunks))
                return
            for rows in self._rows_of(loading, iter(chunks)):
                self._fill(connection, loading, rows)
            if loading.met:
                # Altered bytes must be reported as damage, not as rows that the server rejects.
                chunks.prove()

    def _fill_by_ranges(self, connection: psycopg.Connection, loading: _Loading) -> None:
        """Fill a table by one COPY of all its ranges."""
        if loading.piece.relation in self._without:
            return
        count = sum(part.rows or 0 for part in loading.batch.parts)
        loading.piece = replace(loading.part, rows=count)
        ranges = _Ranges(loading, self._rows_in.context.stored)
        rows = iter(ranges)
        with afterwards(rows.close), proving(ranges, *BY_ROWS):
            self._empty_and_fill(connection, loading, rows)

    def _rows_of(self, loading: _Loading, chunks: Iterator[bytes]) -> Iterator[Rows]:
        """The rows of each wanted piece of the part, which is then the one that is loaded."""
        for piece, rows in self._rows_in.wanted(loading.part, chunks):
            if piece.relation not in self._without:
                loading.piece = piece
                yield rows

    def _fill_pack(
        self, connection: psycopg.Connection, loading: _Loading, chunks: Iterator[bytes]
    ) -> None:
        """Fill all tables of a pack by few messages; the first failure is that of the pack."""
        wanted = self._wanted(loading.part)
        series = CopySeries(connection, [TablePart.of(piece).copy_in() for piece in wanted])
        with afterwards(series.close):
            for rows in self._rows_of(loading, chunks):
                self._rows_in.fill_by(series.copy, loading.piece, rows)

    def _fill(self, connection: psycopg.Connection, loading: _Loading, rows: Rows) -> None:
        piece = loading.piece
        try:
            with connection.transaction() if self._keeps_going else nullcontext():
                self._empty_and_fill(connection, loading, rows)
        except (psycopg.Error, EOFError, RestoreFailed) as error:
            if not self._keeps_going or self._ends_all(connection, error):
                raise
            met = failures.restoring_rows(loading.subject, error)
            loading.met.append(Unloaded(part=loading.part, piece=piece, error=met))

    def _ends_all(self, connection: psycopg.Connection, error: Exception) -> bool:
        if self.cancellation.aborted.is_set():
            return True
        return isinstance(error, psycopg.Error) and failures.ends_all(error, connection)

    def _empty_and_fill(
        self, connection: psycopg.Connection, loading: _Loading, rows: Rows
    ) -> None:
        piece, batch = loading.piece, loading.batch
        if batch.freeze:
            # COPY FREEZE needs a table that was created or truncated in the same transaction.
            table = qualified(TablePart.of(piece).relation)
            connection.execute(f"TRUNCATE ONLY {table}".encode())
        self._rows_in.fill(connection, piece, rows, freeze=batch.freeze)

    def _wanted(self, part: Part) -> list[Piece]:
        return [
            piece
            for piece in selection.pieces([part])
            if selection.is_wanted(piece, self._rows_in.context.request)
            and piece.relation not in self._without
        ]


class _Loading:
    """A batch being loaded: its current part and table, and the rows that could not be loaded."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.part = batch.parts[0]
        self.piece: Piece = self.part
        self.met: list[Unloaded] = []

    @property
    def subject(self) -> str:
        if self.piece.relation is None:
            return f"'{self.part.name}'"
        return f"table '{self.piece.relation}'"


class _Ranges:
    """The rows of all parts of a batch, one after another; those before the current are proven."""

    def __init__(self, loading: _Loading, stored: StoredParts) -> None:
        self._loading = loading
        self._stored = stored
        self._current: Streamed | None = None

    def __iter__(self) -> Generator[bytes, None, None]:
        for part in self._loading.batch.parts:
            self._loading.part = part
            with self._stored.streamed(part) as chunks:
                self._current = chunks
                yield from chunks

    def prove(self) -> None:
        if self._current is not None:
            self._current.prove()


def tried_again(
    session: psycopg.Connection, rows_in: RowsIn, unloaded: Sequence[Unloaded], *, path: str
) -> list[Unloaded]:
    """Load failed rows again and return those that still fail.

    By now all other tables are loaded, and the statement `path` sets the usual search path.
    """
    packs = Packs(rows_in.context.stored)
    session.execute(path.encode())
    return [
        replace(each, error=error)
        for each in unloaded
        if (error := _loaded(session, each, rows_in=rows_in, packs=packs))
    ]


def _loaded(
    session: psycopg.Connection, unloaded: Unloaded, *, rows_in: RowsIn, packs: Packs
) -> RestoreFailed | None:
    """Load the rows; the error if that fails, else None."""
    if isinstance(unloaded.error, VerifyFailed):
        return RestoreFailed(unloaded.error.message, hint=unloaded.error.hint)
    subject = f"table '{unloaded.piece.relation}'"
    try:
        with session.transaction(), packs.opened(unloaded.part, unloaded.piece) as found:
            rows_in.fill(session, unloaded.piece, found)
    except (psycopg.Error, EOFError, RestoreFailed) as error:
        if isinstance(error, psycopg.Error) and failures.ends_all(error, session):
            raise failures.restoring_rows(subject, error) from error
        return RestoreFailed(failures.restoring_rows(subject, error).message)
    return None


def counted(
    request: RestoreRequest, unloaded: Sequence[Unloaded] = ()
) -> tuple[RestoredTable, ...]:
    """The rows of each loaded table; the server's count was compared before each commit."""
    rows: Counter[Relation | None] = Counter()
    for piece in selection.pieces(selection.data_parts(request)):
        if selection.is_wanted(piece, request):
            rows[piece.relation] += piece.rows or 0
    missing: Counter[Relation | None] = Counter()
    for each in unloaded:
        missing[each.piece.relation] += each.piece.rows or 0
    return tuple(
        RestoredTable(relation=relation, rows_expected=count, rows_found=count - missing[relation])
        for relation, count in rows.items()
        if relation is not None
    )
