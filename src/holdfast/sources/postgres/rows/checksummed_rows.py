"""Streams rows of one table or of many small ones, followed by checksums from the server.

Small tables share a part: a script of COPY statements, each with its rows, in psql's format. One
part and one object per table would make ten thousand tables slow, and one request per table costs
a round trip each. So one message carries many statements, and their rows come back in sequence.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace

import psycopg
from psycopg import pq

from holdfast.model import checksums
from holdfast.model.backup import Buffer, Member, Relation
from holdfast.model.checksums import Chosen, Policy
from holdfast.model.errors import BackupFailed, HoldfastError
from holdfast.model.lazy_dataclass import dataclass
from holdfast.ports.source import ForwardingStream, PartStream
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards
from holdfast.sources.postgres.rows import copy_command
from holdfast.sources.postgres.rows.copy_command import POLL_MILLISECONDS, Command, CopyCommand
from holdfast.sources.postgres.server import catalog_queries, failures, table_part
from holdfast.sources.postgres.server.catalog_queries import Facts, Table
from holdfast.sources.postgres.server.table_part import TablePart

# No parallel query: its processes would not count against the job's worker limit.
_BEFORE = "SAVEPOINT holdfast_sum; SET LOCAL max_parallel_workers_per_gather = 0"
_AFTER = "ROLLBACK TO SAVEPOINT holdfast_sum; RELEASE SAVEPOINT holdfast_sum"

Types = Mapping[Relation, Mapping[str, str]]
"""The type of each column of each table."""

TABLES_PER_MESSAGE = 50
# The encoding of the statements; each COPY names the encoding of its rows.
_HEADER = b"SET client_encoding = 'UTF8';\n"
END_OF_ROWS = b"\\.\n"


class SummedRows(ForwardingStream):
    """The rows of one table, or of a range of it, then their checksum; iterate once."""

    checksum = ""

    def __init__(
        self,
        session: psycopg.Connection,
        rows: PartStream,
        *,
        table: TablePart,
        summing: ContentSums,
    ) -> None:
        super().__init__(rows)
        self._session = session
        self._table = table
        self._summing = summing

    def __iter__(self) -> Iterator[Buffer]:
        size_bytes = 0
        for chunk in self._stream:
            size_bytes += len(chunk)
            yield chunk
        table = self._table
        found = yield from self._summing.checksums(self._session, [(table, size_bytes)])
        self.checksum = found.get(table.relation, "")


class CopyPack(CopyCommand):
    """Several small tables read in one session; iterate once, then close."""

    def __init__(
        self,
        connection: psycopg.Connection,
        tables: Sequence[TablePart],
        *,
        summing: ContentSums,
        user: str,
        aborted: threading.Event,
    ) -> None:
        super().__init__(connection, "", subject="", user=user, aborted=aborted)
        self._tables = tables
        self._summing = summing
        self._script = _Script(bytearray(_HEADER))
        self._members: list[Member] = []

    @property
    def members(self) -> Sequence[Member]:
        return self._members

    def __iter__(self) -> Iterator[Buffer]:
        try:
            for first in range(0, len(self._tables), TABLES_PER_MESSAGE):
                yield from self._batch(self._tables[first : first + TABLES_PER_MESSAGE])
        except psycopg.Error as error:
            raise self._failure(error) from error
        yield self._script.taken()
        self.rows = sum(member.rows for member in self._members)

    def _batch(self, tables: Sequence[TablePart]) -> Iterator[Buffer]:
        self._statement = ";\n".join(table.copy_out(copy_command.DESTINATION) for table in tables)
        self._subject = f"table '{tables[0].relation}'"
        self._send()
        found: list[Member] = []
        for table in tables:
            self._subject = f"table '{table.relation}'"
            found.append((yield from self._rows_of(table)))
        self._finish()
        sizes = [(table, each.plain_bytes) for table, each in zip(tables, found, strict=True)]
        sums = yield from self._summing.checksums(self._connection, sizes)
        self._members += [replace(each, checksum=sums.get(each.relation, "")) for each in found]

    def _rows_of(self, table: TablePart) -> Generator[Buffer, None, Member]:
        script = self._script
        script.waiting += f"{table.copy_in()};\n".encode()
        begins = script.position
        self._expect_rows()
        while self._fill(script.waiting, copy_command.BUFFER_BYTES):
            yield script.taken()
        ends = script.position
        script.waiting += END_OF_ROWS
        result = self._result()
        if result is None or result.status != pq.ExecStatus.COMMAND_OK:
            raise self._error_in(result)
        return Member(
            relation=table.relation,
            ancestors=table.ancestors,
            rows=result.command_tuples or 0,
            offset=begins,
            plain_bytes=ends - begins,
            details=table.member_details(),
        )


@dataclass
class _Script:
    """The script so far: `waiting` bytes, and how many were `written` before them."""

    waiting: bytearray
    written: int = 0

    @property
    def position(self) -> int:
        return self.written + len(self.waiting)

    def taken(self) -> bytearray:
        """The waiting bytes, which the caller now owns."""
        found, self.waiting = self.waiting, bytearray()
        self.written += len(found)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The tables that get checksums; a nonempty `obstacle` says why none do."""

    chosen: Chosen
    types: Types
    obstacle: str = ""

    def __str__(self) -> str:
        return f"no checksums: {self.obstacle}" if self.obstacle else str(self.chosen)


def contents(
    session: psycopg.Connection, found: Facts, tables: Sequence[Table], *, policy: Policy
) -> Contents:
    obstacle = table_part.obstacle(session)
    taken = [table for table in tables if catalog_queries.has_rows_to_take(table, found)]
    sizes = {table.relation: table.size_bytes for table in taken}
    return Contents(
        chosen=checksums.chosen(sizes, "none" if obstacle else policy),
        types={table.relation: table.types_by_column for table in taken},
        obstacle=obstacle,
    )


class ContentSums:
    """Computes checksums of the chosen tables."""

    def __init__(
        self, chosen: Chosen, types: Types, *, user: str, aborted: threading.Event
    ) -> None:
        self._chosen = chosen
        self._types = types
        self._user = user
        self._aborted = aborted

    def checksums(
        self, session: psycopg.Connection, sizes: Sequence[tuple[TablePart, int]]
    ) -> Generator[Buffer, None, dict[Relation, str]]:
        """Checksums of the wanted tables, or ranges of one; `sizes` are bytes of their rows.

        Yields empty buffers while the server works, so that a stall timeout does not fire. Raises
        `BackupFailed` or `SnapshotLost`.
        """
        wanted = [
            table
            for table, size_bytes in sizes
            if self._chosen.covers(table.relation, size_bytes=size_bytes)
        ]
        if not wanted:
            return {}
        try:
            return (yield from self._asked(session, wanted))
        except psycopg.Error as error:
            if failures.ends_all(error, session):
                raise self._ended(wanted[0], error, session) from error
            if len(wanted) == 1:
                return self._without(wanted[0], error)
        # A table that fails must not cost the others their checksums.
        found: dict[Relation, str] = {}
        for table in wanted:
            found |= yield from self.checksums(session, [(table, 0)])
        return found

    def _asked(
        self, session: psycopg.Connection, tables: Sequence[TablePart]
    ) -> Generator[Buffer, None, dict[Relation, str]]:
        session.execute(_BEFORE)
        with afterwards(_take_back, session):
            statement = " UNION ALL ".join(
                table_part.question(table, self._types[table.relation], label=number)
                for number, table in enumerate(tables)
            )
            subject = f"table '{tables[0].relation}'"
            question = Question(
                session, statement, subject=subject, user=self._user, aborted=self._aborted
            )
            with afterwards(question.close):
                rows = yield from question.answer()
        return {
            tables[number].relation: table_part.checksum(count, total)
            for number, count, total in rows
        }

    def _ended(
        self, table: TablePart, error: psycopg.Error, session: psycopg.Connection
    ) -> HoldfastError:
        subject = f"table '{table.relation}'"
        if self._aborted.is_set() and error.sqlstate == failures.QUERY_CANCELED:
            return BackupFailed(f"cannot read {subject}: the run was ended")
        gone = failures.session_is_gone(error, session)
        return failures.reading(error, subject, gone=gone, user=self._user)

    def _without(self, table: TablePart, error: psycopg.Error) -> dict[Relation, str]:
        cause = failures.said(error)
        if self._chosen.policy == "all":
            raise BackupFailed(
                f"cannot compute a checksum of table '{table.relation}': {cause}",
                hint="with 'checksums: auto' a backup skips checksums that cannot be computed",
            ) from error
        events.warning("checksum_skipped", table=str(table.relation), reason=cause)
        return {}


def _take_back(session: psycopg.Connection) -> None:
    if not session.closed:
        session.execute(_AFTER)


class Question(Command):
    """A running query with few rows of integers."""

    def answer(self) -> Generator[Buffer, None, list[tuple[int, ...]]]:
        self._send()
        while self._pgconn.is_busy():
            poll = select.poll()
            poll.register(self._pgconn.socket, select.POLLIN)
            if poll.poll(POLL_MILLISECONDS):
                self._pgconn.consume_input()
            else:
                self._check_patience()
                yield b""
        result = self._result()
        if result is None or result.status != pq.ExecStatus.TUPLES_OK:
            raise self._error_in(result)
        self._finish()
        return [
            tuple(int(result.get_value(row, column) or b"0") for column in range(result.nfields))
            for row in range(result.ntuples)
        ]
