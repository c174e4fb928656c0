"""Many small tables in one part: a script of COPY statements, each with its rows, as psql reads it.

One part and one object per table is what makes ten thousand tables slow; and asking for one
table at a time costs a turn on the wire each. So many statements go out in one message, and
their rows come back behind one another.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import psycopg
from psycopg import pq

from holdfast.model.backup import Buffer, Member
from holdfast.sources.postgres.rows import wire
from holdfast.sources.postgres.rows.content_sums import ContentSums
from holdfast.sources.postgres.rows.copy_command import CopyCommand
from holdfast.sources.postgres.server.table_part import TablePart

TABLES_PER_MESSAGE = 50
# Of the statements; the rows' own encoding stands in each COPY.
_HEADER = b"SET client_encoding = 'UTF8';\n"
END_OF_ROWS = b"\\.\n"


@dataclass
class _Script:
    """What was written so far, and where each table's rows lie in it."""

    waiting: bytearray
    written: int = 0

    @property
    def position(self) -> int:
        return self.written + len(self.waiting)

    def taken(self) -> bytearray:
        """What waits, which now belongs to whoever called."""
        found, self.waiting = self.waiting, bytearray()
        self.written += len(found)
        return found


class CopyPack(CopyCommand):
    """Several small tables under way in one session; iterate once, then close."""

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

    def __iter__(self) -> Iterator[Buffer]:
        try:
            for first in range(0, len(self._tables), TABLES_PER_MESSAGE):
                yield from self._batch(self._tables[first : first + TABLES_PER_MESSAGE])
        except psycopg.Error as error:
            raise self._failure(error) from error
        yield self._script.taken()
        self.rows = sum(member.rows for member in self.members)

    def _batch(self, tables: Sequence[TablePart]) -> Iterator[Buffer]:
        self._statement = ";\n".join(table.copy_out(wire.DESTINATION) for table in tables)
        self._subject = f"table '{tables[0].relation}'"
        self._send()
        found: list[Member] = []
        for table in tables:
            self._subject = f"table '{table.relation}'"
            found.append((yield from self._rows_of(table)))
        self._finish()
        sizes = [(table, each.plain_bytes) for table, each in zip(tables, found, strict=True)]
        sums = yield from self._summing.checksums(self._connection, sizes)
        self.members += [replace(each, checksum=sums.get(each.relation, "")) for each in found]

    def _rows_of(self, table: TablePart) -> Generator[Buffer, None, Member]:
        script = self._script
        script.waiting += f"{table.copy_in()};\n".encode()
        begins = script.position
        self._expect_rows()
        while self._fill(script.waiting, wire.BUFFER_BYTES):
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
