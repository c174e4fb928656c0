"""Copies the rows of one table into it, in the caller's transaction.

The server reads them from a named pipe if it can, else from the connection.
"""

from __future__ import annotations

import errno
import os
import select
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import field
from pathlib import Path
from typing import Protocol

import psycopg
from psycopg import pq

from holdfast.model.backup import Member, Part
from holdfast.model.errors import HoldfastError, RestoreFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.restore import StoredParts, proving
from holdfast.runtime.cleanup import Cancellation, afterwards, on_failure
from holdfast.runtime.named_pipes import READ, Pipes, pipes_for
from holdfast.runtime.process import widened
from holdfast.sources.packing import StreamCutter
from holdfast.sources.postgres.restore import selection
from holdfast.sources.postgres.restore.long_values import with_values
from holdfast.sources.postgres.restore.selection import RestoreContext
from holdfast.sources.postgres.rows.copy_command import POLL_MILLISECONDS
from holdfast.sources.postgres.rows.transport import is_local, peer_uid
from holdfast.sources.postgres.server.sql_text import literal
from holdfast.sources.postgres.server.table_part import TablePart

Chunks = Iterable[bytes | memoryview]

# The placeholder in a COPY for the path of the pipe; no table name can contain a NUL.
PLACE = "\0"
_MAY_READ = "SELECT pg_has_role(current_user, 'pg_read_server_files', 'USAGE')"

# The errors that altered rows can cause.
BY_ROWS = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProtocolViolation, EOFError)
# The planned size of a pack is the size on the server's disk, which may be compressed: its text can
# be much longer.
MOST_PACK_BYTES = 64 << 20
PACKS_KEPT = 3
Rows = Iterable[bytes | memoryview]
Piece = Part | Member
"""A table, a range of one, or one of several tables in a pack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsIn:
    """Loads rows: `context` knows where they are stored, `inward` how they reach the server."""

    context: RestoreContext
    inward: Inward
    cancellation: Cancellation = field(default_factory=Cancellation)

    def wanted(self, part: Part, chunks: Iterator[bytes]) -> Iterator[tuple[Piece, Rows]]:
        """Each requested table of the part, with its rows."""
        if not part.members:
            yield part, chunks
            return
        script = StreamCutter(chunks)
        for member in part.members:
            if selection.is_wanted(member, self.context.request):
                script.skip_to(member.offset)
                yield member, script.take(member.plain_bytes)
        script.drain()

    def fill(
        self, connection: psycopg.Connection, piece: Piece, rows: Rows, *, freeze: bool = False
    ) -> None:
        """Copy the rows in. Raises `RestoreFailed` if the server's row count differs."""
        statement = TablePart.of(piece).copy_in(freeze=freeze, source=self.inward.placeholder)
        self.fill_by(lambda whole: self.inward.copy(connection, statement, whole), piece, rows)

    def fill_by(self, copy: Callable[[Chunks], int], piece: Piece, rows: Rows) -> None:
        """As `fill`, where `copy` sends the rows to the server and returns their count."""
        table = TablePart.of(piece)
        found = copy(self._while_wanted(self._with_values(table, rows), table))
        if found != piece.rows:
            raise RestoreFailed(
                f"cannot restore table '{table.relation}': {piece.rows} rows were stored,"
                f" {found} arrived",
                hint="check whether a trigger or rule of the target table drops rows",
            )

    def _with_values(self, table: TablePart, rows: Rows) -> Rows:
        if table.external is None:
            return rows
        if self.context.request.open_blob is None:
            raise HoldfastError(
                f"cannot restore table '{table.relation}': internal error: no blob reader was"
                " supplied"
            )
        return with_values(
            (bytes(chunk) for chunk in rows), table.external, self.context.request.open_blob
        )

    def _while_wanted(self, rows: Rows, table: TablePart) -> Iterator[bytes | memoryview]:
        for chunk in rows:
            if self.cancellation.aborted.is_set():
                raise RestoreFailed(f"cannot restore '{table.relation}': the run was ended")
            yield chunk


class Packs:
    """Opens pieces in any order: the packs used last stay in memory."""

    def __init__(self, stored: StoredParts) -> None:
        self._stored = stored
        self._whole: OrderedDict[str, memoryview] = OrderedDict()

    @contextmanager
    def opened(self, part: Part, piece: Piece) -> Iterator[Rows]:
        """The rows of `piece`, which are proven once the block has read them all."""
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


class Inward(Protocol):
    """One way to send rows to the server; `placeholder` is the source that the COPY names."""

    name: str
    placeholder: str

    def copy(self, connection: psycopg.Connection, statement: str, chunks: Chunks) -> int:
        """Run the COPY with `chunks` as its rows, and return the server's row count."""
        ...


@contextmanager
def chosen(connect: Callable[[], psycopg.Connection]) -> Iterator[Inward]:
    """The pipe if a trial row passes through it, else the connection."""
    with connect() as session:
        if not is_local(session) or not _may_read(session):
            yield WireIn()
            return
        uid = peer_uid(session)
    with pipes_for(uid, server_may=READ) as pipes:
        fifo = FifoIn(pipes)
        with connect() as session:
            works = _works(fifo, session)
        yield fifo if works else WireIn()


def _may_read(session: psycopg.Connection) -> bool:
    row = session.execute(_MAY_READ).fetchone()
    return bool(row and row[0])


def _works(fifo: FifoIn, session: psycopg.Connection) -> bool:
    try:
        session.execute("CREATE TEMPORARY TABLE holdfast_trial (a int)")
        return fifo.copy(session, f"COPY holdfast_trial FROM {PLACE}", [b"1\n"]) == 1
    except (psycopg.Error, HoldfastError, OSError):
        return False


class WireIn:
    """Sends rows over the connection, which works with any server."""

    name = "wire"
    placeholder = "STDIN"

    def copy(self, connection: psycopg.Connection, statement: str, chunks: Chunks) -> int:
        with connection.cursor() as cursor:
            with cursor.copy(statement.encode()) as copy:
                for chunk in chunks:
                    copy.write(chunk)
            return cursor.rowcount


class FifoIn:
    """Sends rows through a named pipe that the server itself reads."""

    name = "fifo"
    placeholder = PLACE

    def __init__(self, pipes: Pipes) -> None:
        self._pipes = pipes

    def copy(self, connection: psycopg.Connection, statement: str, chunks: Chunks) -> int:
        with self._pipes.made() as path:
            place = literal(str(path))
            return _Feed(connection, statement.replace(PLACE, place), path).run(chunks)


class _Feed:
    """One running COPY from a pipe."""

    def __init__(self, connection: psycopg.Connection, statement: str, path: Path) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._statement = statement
        self._path = path

    def run(self, chunks: Chunks) -> int:
        self._pgconn.send_query(self._statement.encode())
        while self._pgconn.flush():
            self._look(select.POLLIN | select.POLLOUT)
        with on_failure(self._cancel):
            descriptor = self._opened()
            if descriptor is not None:
                with afterwards(os.close, descriptor):
                    self._write(descriptor, chunks)
        return self._answer()

    def _cancel(self) -> None:
        """Cancel the COPY: the server would take an end of file for the end of the rows."""
        with suppress(psycopg.Error):
            self._connection.cancel_safe()
            self._answer()

    def _opened(self) -> int | None:
        """Our end, once the server has opened its own; None if the COPY failed before that."""
        while self._pgconn.is_busy():
            try:
                return widened(os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
            # The server has not called open(2) yet: wait shortly, and notice if it fails instead.
            self._look(select.POLLIN, milliseconds=1)
        return None

    def _write(self, descriptor: int, chunks: Chunks) -> None:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                try:
                    view = view[os.write(descriptor, view) :]
                except BlockingIOError:
                    self._wait_for_room(descriptor)
                except BrokenPipeError:
                    # The server stopped reading: its answer says why.
                    return

    def _wait_for_room(self, descriptor: int) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        poll.poll(POLL_MILLISECONDS)

    def _look(self, events: int, *, milliseconds: int = POLL_MILLISECONDS) -> None:
        poll = select.poll()
        poll.register(self._pgconn.socket, events)
        if poll.poll(milliseconds):
            self._pgconn.consume_input()

    def _answer(self) -> int:
        failed: psycopg.Error | None = None
        rows = 0
        while True:
            while self._pgconn.is_busy():
                self._look(select.POLLIN)
            result = self._pgconn.get_result()
            if result is None:
                break
            if result.status == pq.ExecStatus.COMMAND_OK:
                rows = result.command_tuples or 0
            else:
                failed = psycopg.errors.error_from_result(result)
        if failed is not None:
            raise failed
        return rows
