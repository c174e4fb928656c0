"""Runs one COPY in a session: every wait is bounded, and the COPY can be ended early.

Python work per row makes COPY over the connection slow. So each row costs one libpq call and one
append, and all other code handles large buffers.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator
from io import FileIO

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGconn, PGresult

from holdfast.model.backup import Buffer
from holdfast.model.errors import BackupFailed
from holdfast.ports.source import PartStream
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.login import CANCEL_SECONDS

# Long enough to cost nothing, short enough for a prompt abort on a dead network.
POLL_MILLISECONDS = 500
IDLE_POLLS_AFTER_CANCEL = 10

DESTINATION = "STDOUT"
BUFFER_BYTES = 1 << 19
PIPE_BUFFER_BYTES = 1 << 20
# The server writes short rows 4 KiB at a time. A reader that takes each piece when it comes is
# woken for each of them, which costs more than to copy them. So after a read of few bytes the pipe
# gets a moment to fill. Long values come in large pieces: a pause would only stop the server.
FEW_BYTES = 64 << 10
FILLING_MILLISECONDS = 1


class Command:
    """A statement that a session runs: sent once, waited for, then closed."""

    def __init__(
        self,
        connection: psycopg.Connection,
        statement: str,
        *,
        subject: str,
        user: str,
        aborted: threading.Event,
    ) -> None:
        self._connection = connection
        self._pgconn: PGconn = connection.pgconn
        self._statement = statement
        self._subject = subject
        self._user = user
        self._aborted = aborted
        self._under_way = False
        self._idle_polls_left: int | None = None

    def close(self) -> None:
        """Cancel a statement whose rows were not all read, and discard the rest.

        May be called twice. If the cancel fails, the connection is closed.
        """
        if not self._under_way:
            return
        self._under_way = False
        self._idle_polls_left = IDLE_POLLS_AFTER_CANCEL
        try:
            self._connection.cancel_safe(timeout=CANCEL_SECONDS)
            self._swallow()
        except (psycopg.Error, BackupFailed):
            self._connection.close()

    def _send(self) -> None:
        self._pgconn.send_query(self._statement.encode())
        self._under_way = True
        while self._pgconn.flush():
            self._wait(select.POLLIN | select.POLLOUT)

    def _finish(self) -> None:
        while self._result() is not None:
            pass
        self._under_way = False

    def _swallow(self) -> None:
        while (result := self._result()) is not None:
            if result.status == pq.ExecStatus.COPY_OUT:
                while (size := self._pgconn.get_copy_data(1)[0]) >= 0:
                    if size == 0:
                        self._wait(select.POLLIN)

    def _result(self) -> PGresult | None:
        while self._pgconn.is_busy():
            self._wait(select.POLLIN)
        return self._pgconn.get_result()

    def _wait(self, events: int) -> None:
        poll = select.poll()
        poll.register(self._pgconn.socket, events)
        while not poll.poll(POLL_MILLISECONDS):
            self._check_patience()
        self._pgconn.consume_input()

    def _check_patience(self) -> None:
        if self._idle_polls_left is not None:
            self._idle_polls_left -= 1
        if self._aborted.is_set() or self._idle_polls_left == 0:
            raise BackupFailed(f"cannot read {self._subject}: the run was ended")

    def _error_in(self, result: PGresult | None) -> psycopg.Error:
        if result is None:
            return psycopg.OperationalError("the server did not answer")
        return psycopg.errors.error_from_result(result)

    def _failure(self, error: psycopg.Error) -> Exception:
        if self._aborted.is_set() and error.sqlstate == failures.QUERY_CANCELED:
            return BackupFailed(f"cannot read {self._subject}: the run was ended")
        gone = failures.session_is_gone(error, self._connection)
        return failures.reading(error, self._subject, gone=gone, user=self._user)


class CopyCommand(Command, PartStream):
    """The base of all ways to read rows; iterate once, then close."""

    rows: int | None = None

    def __iter__(self) -> Iterator[Buffer]:
        try:
            self._send()
            yield from self._buffers()
            self._end()
        except psycopg.Error as error:
            raise self._failure(error) from error

    def _buffers(self) -> Iterator[Buffer]:
        """The rows, in large buffers."""
        raise NotImplementedError

    def _end(self) -> None:
        result = self._result()
        if result is None or result.status != pq.ExecStatus.COMMAND_OK:
            raise self._error_in(result)
        self.rows = result.command_tuples
        self._finish()

    def _expect_rows(self) -> None:
        """Await the first answer to a COPY to the client; `_fill` reads the rows after it."""
        result = self._result()
        if result is None or result.status != pq.ExecStatus.COPY_OUT:
            raise self._error_in(result)

    def _fill(self, buffer: bytearray, size_bytes: int) -> bool:
        """Append rows until `buffer` holds `size_bytes`; False once there are no more."""
        get_copy_data = self._pgconn.get_copy_data
        while len(buffer) < size_bytes:
            size, row = get_copy_data(1)
            if size > 0:
                buffer += row
            elif size == 0:
                self._wait(select.POLLIN)
            else:
                return False
        return True


class CopyOverWire(CopyCommand):
    """One running `COPY ... TO STDOUT`."""

    def _buffers(self) -> Iterator[Buffer]:
        self._expect_rows()
        while True:
            # A new buffer each time: the caller owns the last one.
            buffer = bytearray()
            more = self._fill(buffer, BUFFER_BYTES)
            if buffer:
                yield buffer
            if not more:
                return


class CopyIntoPipe(CopyCommand):
    """One running `COPY ... TO 'pipe'`; `pipe` is our non-blocking end, read into `buffer`.

    What is yielded lies there, and is valid only until the next is requested.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        statement: str,
        *,
        pipe: FileIO,
        buffer: bytearray,
        subject: str,
        user: str,
        aborted: threading.Event,
    ) -> None:
        super().__init__(connection, statement, subject=subject, user=user, aborted=aborted)
        self._pipe = pipe
        self._buffer = buffer
        self._writer_has_left = False

    def close(self) -> None:
        """Close the pipe, then cancel the COPY.

        A server blocked on a full pipe ignores the cancel, but fails once the pipe has no reader.
        """
        self._pipe.close()
        super().close()

    def _buffers(self) -> Iterator[Buffer]:
        buffer, filled = memoryview(self._buffer), 0
        while True:
            # The server answers only after it has closed its end. So after the answer an empty pipe
            # means the end of the rows, not a writer that has not opened it yet.
            answered = not self._pgconn.is_busy()
            size = self._pipe.readinto(buffer[filled:]) or 0
            if answered and not size:
                break
            are_few = size < min(FEW_BYTES, len(buffer) - filled)
            filled += size
            if filled == len(buffer):
                yield buffer
                filled = 0
            if not size:
                self._wait_for_either()
            elif are_few and not answered:
                self._let_it_fill()
        if filled:
            yield buffer[:filled]

    def _let_it_fill(self) -> None:
        """Give the server a moment to write more; its answer ends the moment."""
        poll = select.poll()
        poll.register(self._pgconn.socket, select.POLLIN)
        if poll.poll(FILLING_MILLISECONDS):
            self._pgconn.consume_input()

    def _wait_for_either(self) -> None:
        poll = select.poll()
        session = self._pgconn.socket
        poll.register(session, select.POLLIN)
        if not self._writer_has_left:
            poll.register(self._pipe, select.POLLIN)
        while not (events := poll.poll(POLL_MILLISECONDS)):
            self._check_patience()
        for descriptor, event in events:
            if descriptor == session:
                self._pgconn.consume_input()
            elif not event & select.POLLIN:
                # From now on poll would report the empty pipe at once, in a busy loop.
                self._writer_has_left = True
