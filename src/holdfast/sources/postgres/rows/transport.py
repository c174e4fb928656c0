"""Transports for rows from the server: a named pipe if possible, else the connection.

Through a named pipe large buffers pass without a protocol. It needs a server on this host and a
login that may write server files.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol

import psycopg

from holdfast.model.errors import HoldfastError, Unsupported
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.named_pipes import Pipes, pipes_for
from holdfast.sources.postgres.rows import copy_command
from holdfast.sources.postgres.rows.copy_command import (
    PIPE_BUFFER_BYTES,
    CopyCommand,
    CopyIntoPipe,
    CopyOverWire,
)
from holdfast.sources.postgres.server.sql_text import identifier, literal

Wanted = Literal["auto", "fifo", "wire"]
CopyOut = Callable[[str], str]
"""The COPY statement for a destination: `STDOUT` or a quoted path."""
_MAY_WRITE = """
SELECT pg_has_role(current_user, 'pg_write_server_files', 'USAGE'), current_user::text
"""
# unix(7), SO_PEERCRED: process, user and group id of the listener, as this process sees them.
_PEER = struct.Struct("3i")


class Transport(Protocol):
    """One way to read rows, and why it was chosen."""

    name: str
    reason: str

    def reading(
        self,
        session: psycopg.Connection,
        copy_out: CopyOut,
        *,
        subject: str,
        user: str,
        aborted: threading.Event,
    ) -> AbstractContextManager[CopyCommand]:
        """One COPY to iterate over; leaving the block early ends it."""
        ...


class Wire:
    """Reads rows over the connection, which works with any server, also over TLS."""

    name = "wire"

    def __init__(self, reason: str) -> None:
        self.reason = reason

    @contextmanager
    def reading(
        self,
        session: psycopg.Connection,
        copy_out: CopyOut,
        *,
        subject: str,
        user: str,
        aborted: threading.Event,
    ) -> Iterator[CopyCommand]:
        statement = copy_out(copy_command.DESTINATION)
        stream = CopyOverWire(session, statement, subject=subject, user=user, aborted=aborted)
        with afterwards(stream.close):
            yield stream


class Fifo:
    """Reads rows from a named pipe that the server itself opens."""

    name = "fifo"
    reason = "the server is on this host and may write to a named pipe"

    def __init__(self, pipes: Pipes) -> None:
        self._pipes = pipes
        # One for each worker: memory costs processor time when it is first used.
        self._buffers: list[bytearray] = []

    @contextmanager
    def reading(
        self,
        session: psycopg.Connection,
        copy_out: CopyOut,
        *,
        subject: str,
        user: str,
        aborted: threading.Event,
    ) -> Iterator[CopyCommand]:
        with self._pipes.opened() as (path, pipe), self._buffer() as buffer:
            stream = CopyIntoPipe(
                session,
                copy_out(literal(str(path))),
                pipe=pipe,
                buffer=buffer,
                subject=subject,
                user=user,
                aborted=aborted,
            )
            with afterwards(stream.close):
                yield stream

    @contextmanager
    def _buffer(self) -> Iterator[bytearray]:
        """A buffer that nobody else uses during the block."""
        try:
            buffer = self._buffers.pop()
        except IndexError:
            buffer = bytearray(PIPE_BUFFER_BYTES)
        with afterwards(self._buffers.append, buffer):
            yield buffer


@contextmanager
def chosen(wanted: Wanted, session: psycopg.Connection) -> Iterator[Transport]:
    """The transport for `wanted` on this server; pipes are removed after the block.

    `auto` sends a trial row through a pipe and falls back to the wire, with the reason. Raises
    `Unsupported` if `fifo` was requested and does not work.
    """
    if wanted == "wire":
        yield Wire("as requested")
        return
    obstacle = _obstacle(session)
    if not obstacle:
        with pipes_for(peer_uid(session)) as pipes:
            fifo = Fifo(pipes)
            obstacle = _failure_of(fifo, session)
            if not obstacle:
                yield fifo
                return
    if wanted == "fifo":
        raise Unsupported(
            f"cannot read through a named pipe: {obstacle}",
            hint="transport: auto uses the wire where a pipe does not work",
        )
    yield Wire(obstacle)


def _obstacle(session: psycopg.Connection) -> str:
    """Why a pipe cannot work here; empty if it is worth a trial."""
    if not is_local(session):
        return "the connection does not use a socket of this host"
    row = session.execute(_MAY_WRITE).fetchone()
    if row is None or not row[0]:
        role = identifier(row[1]) if row else "the role"
        return f"the login may not write server files (GRANT pg_write_server_files TO {role})"
    return ""


def is_local(session: psycopg.Connection) -> bool:
    """Whether the server is reached through a socket of this host."""
    return session.info.host.startswith(("/", "@"))


def peer_uid(session: psycopg.Connection) -> int:
    """The user id of the server, which listens on the socket."""
    with socket.socket(fileno=os.dup(session.pgconn.socket)) as peer:
        found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return int(_PEER.unpack(found)[1])


def _failure_of(fifo: Fifo, session: psycopg.Connection) -> str:
    """Why the server cannot write into our pipe; empty if a trial row came through."""
    try:
        with fifo.reading(
            session,
            lambda destination: f"COPY (SELECT 1) TO {destination}",
            subject="one row through a named pipe",
            user=session.info.user,
            aborted=threading.Event(),
        ) as stream:
            found = b"".join(bytes(chunk) for chunk in stream)
    except (HoldfastError, OSError) as error:
        return str(error)
    return "" if found == b"1\n" else f"it returned {found!r} instead of one row"
