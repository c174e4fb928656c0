"""How rows travel from the server to us: through a named pipe where that works, else the wire."""

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
from holdfast.sources.postgres.rows import copy_command
from holdfast.sources.postgres.rows.copy_command import CopyCommand, CopyOverWire
from holdfast.sources.postgres.rows.pipe import CopyIntoPipe, Pipes, pipes_for
from holdfast.sources.postgres.server.sql_text import identifier, literal

Wanted = Literal["auto", "fifo", "wire"]
CopyOut = Callable[[str], str]
"""The COPY statement for a destination: `STDOUT` or a quoted path."""

_MAY_WRITE = """
SELECT pg_has_role(current_user, 'pg_write_server_files', 'USAGE'), current_user::text
"""
# unix(7): process, user and group of whoever listens, as this process sees them.
_PEER = struct.Struct("3i")


class Transport(Protocol):
    """One way for rows, and why it was chosen."""

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
        """One COPY under way; leaving the block early ends it."""
        ...


class Wire:
    """Over the connection: any server, TLS included."""

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
    """Through a named pipe that the server itself opens."""

    name = "fifo"
    reason = "the server is on this host and may write into a pipe of ours"

    def __init__(self, pipes: Pipes) -> None:
        self._pipes = pipes

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
        with self._pipes.opened() as (path, pipe):
            stream = CopyIntoPipe(
                session,
                copy_out(literal(str(path))),
                pipe=pipe,
                subject=subject,
                user=user,
                aborted=aborted,
            )
            with afterwards(stream.close):
                yield stream


@contextmanager
def chosen(wanted: Wanted, session: psycopg.Connection) -> Iterator[Transport]:
    """What `wanted` comes to on this server; pipes are gone after the block.

    `auto` tries the pipe for real and falls back to the wire with the reason. Raises
    `Unsupported` where `fifo` was asked for and cannot be had.
    """
    if wanted == "wire":
        yield Wire("asked for")
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
            hint="transport: auto takes the wire where the pipe cannot be had",
        )
    yield Wire(obstacle)


def _obstacle(session: psycopg.Connection) -> str:
    """What keeps the pipe from being tried at all."""
    if not is_local(session):
        return "the server is not reached through a socket of this host"
    row = session.execute(_MAY_WRITE).fetchone()
    if row is None or not row[0]:
        role = identifier(row[1]) if row else "the role"
        return f"the login may not write server files (GRANT pg_write_server_files TO {role})"
    return ""


def is_local(session: psycopg.Connection) -> bool:
    """Whether the server is reached through a socket of this host."""
    return session.info.host.startswith(("/", "@"))


def peer_uid(session: psycopg.Connection) -> int:
    """The server's own user: whoever listens on the socket."""
    with socket.socket(fileno=os.dup(session.pgconn.socket)) as peer:
        found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return int(_PEER.unpack(found)[1])


def _failure_of(fifo: Fifo, session: psycopg.Connection) -> str:
    """Why the server cannot write into our pipe; empty where it can."""
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
    return "" if found == b"1\n" else f"it brought {found!r} instead of one row"
