"""The rows of one table on their way into it, in whatever transaction its caller has."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from holdfast.model.backup import Member, Part
from holdfast.model.errors import HoldfastError, RestoreFailed
from holdfast.model.proven import StoredParts, proving
from holdfast.ports.target import RestoreRequest
from holdfast.runtime.cleanup import Cancellation
from holdfast.sources.postgres.restore import selection
from holdfast.sources.postgres.restore.external_values import with_values
from holdfast.sources.postgres.restore.transport import Inward
from holdfast.sources.postgres.server.table_part import TablePart
from holdfast.sources.stream_cutter import StreamCutter

# What rows can do that are not those that were stored.
BY_ROWS = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProtocolViolation, EOFError)

# A table's bytes in a pack are what it has on the server's disk, which may compress well.
MOST_PACK_BYTES = 64 << 20
PACKS_KEPT = 3

Rows = Iterable[bytes | memoryview]
Piece = Part | Member
"""A table, a range of one, or one of several tables in a pack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsIn:
    """What it takes to bring rows in: where they are stored, and a way to the server."""

    request: RestoreRequest
    stored: StoredParts
    inward: Inward
    endings: Cancellation = field(default_factory=Cancellation)

    def wanted(self, part: Part, chunks: Iterator[bytes]) -> Iterator[tuple[Piece, Rows]]:
        """Each table that is wanted of the part, with its rows."""
        if not part.members:
            yield part, chunks
            return
        script = StreamCutter(chunks)
        for member in part.members:
            if selection.is_wanted(member, self.request):
                script.skip_to(member.offset)
                yield member, script.take(member.plain_bytes)
        script.drain()

    def fill(
        self, connection: psycopg.Connection, piece: Piece, rows: Rows, *, freeze: bool = False
    ) -> None:
        """Raises `RestoreFailed` where the server took fewer rows, or more, than were stored."""
        table = TablePart.of(piece)
        statement = table.copy_in(freeze=freeze, source=self.inward.placeholder)
        whole = self._with_values(table, rows)
        found = self.inward.copy(connection, statement, self._while_wanted(whole, table))
        if found != piece.rows:
            raise RestoreFailed(
                f"cannot restore table '{table.relation}': {piece.rows} rows were stored,"
                f" {found} arrived",
                hint="does a trigger or rule of the target table drop rows?",
            )

    def _with_values(self, table: TablePart, rows: Rows) -> Rows:
        if table.external is None:
            return rows
        if self.request.open_blob is None:
            raise HoldfastError(f"cannot restore table '{table.relation}': no blobs are at hand")
        return with_values((bytes(chunk) for chunk in rows), table.external, self.request.open_blob)

    def _while_wanted(self, rows: Rows, table: TablePart) -> Iterator[bytes | memoryview]:
        for chunk in rows:
            if self.endings.aborted.is_set():
                raise RestoreFailed(f"cannot restore '{table.relation}': the run was ended")
            yield chunk


class Packs:
    """Pieces in any order, though several tables share a part: those of late are kept in memory."""

    def __init__(self, stored: StoredParts) -> None:
        self._stored = stored
        self._whole: OrderedDict[str, memoryview] = OrderedDict()

    @contextmanager
    def opened(self, part: Part, piece: Piece) -> Iterator[Rows]:
        """The rows of `piece`, which are proven once they have all been read."""
        if isinstance(piece, Member) and part.plain_bytes <= MOST_PACK_BYTES:
            yield [self._pack(part)[piece.offset : piece.offset + piece.plain_bytes]]
            return
        with self._stored.streamed(part) as chunks, proving(chunks, *BY_ROWS):
            if isinstance(piece, Member):
                script = StreamCutter(iter(chunks))
                script.skip_to(piece.offset)
                yield script.take(piece.plain_bytes)
                chunks.prove()
            else:
                yield iter(chunks)

    def _pack(self, part: Part) -> memoryview:
        if part.name not in self._whole:
            with self._stored.proven(part) as proven:
                self._whole[part.name] = memoryview(proven.whole())
            if len(self._whole) > PACKS_KEPT:
                self._whole.popitem(last=False)
        self._whole.move_to_end(part.name)
        return self._whole[part.name]
