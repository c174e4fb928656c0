"""Loads many small tables over the connection: one message holds their COPY statements.

A table of a few rows takes the server less time than its statement takes to reach it. So the server
has the next statement already when it has loaded a table.
"""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGresult

from holdfast.sources.postgres.rows.copy_command import POLL_MILLISECONDS

STATEMENTS_PER_MESSAGE = 50
_ENDED = b"the rows of this table could not be read"


class CopySeries:
    """Runs `statements`, each a COPY FROM STDIN; close it, however it ends."""

    def __init__(self, connection: psycopg.Connection, statements: Sequence[str]) -> None:
        self._pgconn = connection.pgconn
        self._waiting = deque(statements)
        self._under_way = 0
        self._is_copying = False

    def copy(self, rows: Iterable[bytes | memoryview]) -> int:
        """Send the rows of the next table, and return how many the server took.

        Raises what `rows` raises, and what the server says.
        """
        if not self._under_way:
            self._send()
        self._expect(pq.ExecStatus.COPY_IN)
        self._is_copying = True
        for chunk in rows:
            self._pgconn.put_copy_data(chunk)
            self._flush()
        self._pgconn.put_copy_end()
        self._is_copying = False
        self._flush()
        taken = self._expect(pq.ExecStatus.COMMAND_OK).command_tuples
        self._under_way -= 1
        if not self._under_way:
            self._swallow()
        return taken or 0

    def close(self) -> None:
        """End the statements that were sent and not completed; may be called twice.

        The server takes no rows of a COPY that ends here.
        """
        if not self._under_way:
            return
        self._under_way = 0
        # A session that is gone has nothing left to end.
        with suppress(psycopg.Error):
            if self._is_copying:
                self._refuse()
            self._swallow()

    def _send(self) -> None:
        self._under_way = min(len(self._waiting), STATEMENTS_PER_MESSAGE)
        message = ";\n".join(self._waiting.popleft() for _ in range(self._under_way))
        self._pgconn.send_query(message.encode())
        self._flush()

    def _refuse(self) -> None:
        self._is_copying = False
        self._pgconn.put_copy_end(_ENDED)
        self._flush()

    def _swallow(self) -> None:
        while (result := self._result()) is not None:
            if result.status == pq.ExecStatus.COPY_IN:
                self._refuse()

    def _expect(self, status: pq.ExecStatus) -> PGresult:
        result = self._result()
        if result is None:
            raise psycopg.OperationalError("the server did not answer")
        if result.status != status:
            raise psycopg.errors.error_from_result(result)
        return result

    def _result(self) -> PGresult | None:
        while self._pgconn.is_busy():
            self._wait(select.POLLIN)
        return self._pgconn.get_result()

    def _flush(self) -> None:
        while self._pgconn.flush():
            self._wait(select.POLLIN | select.POLLOUT)

    def _wait(self, events: int) -> None:
        poll = select.poll()
        poll.register(self._pgconn.socket, events)
        if poll.poll(POLL_MILLISECONDS):
            self._pgconn.consume_input()
