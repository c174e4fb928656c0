"""Transports for rows from the server: a named pipe if possible, else the connection.

Through a named pipe large buffers pass without a protocol. It needs a server on this host and a
login that may write server files.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import stat
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Literal, Protocol

import psycopg

from holdfast.model.errors import HoldfastError, TasksRefused, ToolMissing, Unsupported
from holdfast.runtime import process
from holdfast.runtime.cleanup import afterwards
from holdfast.sources.postgres.rows import copy_command
from holdfast.sources.postgres.rows.copy_command import CopyCommand, CopyIntoPipe, CopyOverWire
from holdfast.sources.postgres.server.sql_text import identifier, literal

# The most that an ordinary user may set (fs.pipe-max-size): fewer switches between processes.
PIPE_BYTES = 1 << 20

PREFIX = "holdfast-pipes-"

# A helper that waits until its standard input closes, which happens however this process ends. A
# server process blocked in open(2) of a pipe reacts to no signal, not even to that of
# pg_terminate_backend, until another process opens the pipe. So the helper holds each pipe open
# while it removes it: otherwise a server process could wait forever on a pipe without a name.
_RELEASE = """
trap '' INT TERM HUP
read -r _
for pipe in "$1"/*.pipe; do [ -p "$pipe" ] && rm -f "$pipe" <>"$pipe"; done
rm -rf "$1"
exit 0
"""

# acl(5) in the kernel's format: a version, then tag, permissions and id, in this order of tags.
_ACL = "system.posix_acl_access"
_VERSION, _NOBODY = 2, 0xFFFFFFFF
_OWNER, _USER, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_READ_WRITE_ENTER, READ, WRITE, _ENTER = 7, 4, 2, 1

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
    """The transport for `wanted` on this server; pipes are removed after the block.

    `auto` sends a trial row through a pipe and falls back to the wire, with the reason. Raises
    `Unsupported` if `fifo` was requested and does not work.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipes:
    """Creates named pipes in a folder that only our user and the server's user can enter."""

    folder: Path
    server_uid: int
    server_may: int

    @contextmanager
    def made(self) -> Iterator[Path]:
        """A new pipe that the server may open, removed after the block."""
        path = self.folder / f"{secrets.token_hex(8)}.pipe"
        os.mkfifo(path, 0o600)
        path.chmod(0o600)
        with afterwards(_remove, path):
            _let_in(path, self.server_uid, self.server_may)
            yield path

    @contextmanager
    def opened(self) -> Iterator[tuple[Path, FileIO]]:
        """A new pipe, already open for reading, so that the server's open never blocks."""
        with self.made() as path:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with FileIO(widened(descriptor)) as pipe:
                yield path, pipe


@contextmanager
def pipes_for(server_uid: int, *, server_may: int = WRITE) -> Iterator[Pipes]:
    """A new folder for pipes, removed after the block.

    It is created in systemd's runtime folder if there is one, because a unit's private /tmp would
    hide the pipes from the server. It is not world-writable, because `fs.protected_fifos` refuses
    pipes in such folders.
    """
    parent = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0] or None
    _sweep(Path(parent or tempfile.gettempdir()))
    prefix = f"{PREFIX}{os.getpid()}-"
    with (
        # The release helper may have removed it already.
        tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as name,
        _released(Path(name)),
    ):
        path = Path(name)
        if parent:
            _let_in(Path(parent), server_uid, _ENTER)
        _let_in(path, server_uid, _ENTER)
        yield Pipes(folder=path, server_uid=server_uid, server_may=server_may)


@contextmanager
def _released(folder: Path) -> Iterator[None]:
    """Run a helper that releases server processes blocked on our pipes when this process ends."""
    argv = ["/bin/sh", "-c", _RELEASE, "holdfast-pipes", str(folder)]
    with ExitStack() as stack:
        # Without the helper, the next run's sweep releases them: no run fails for it.
        with suppress(TasksRefused, ToolMissing, OSError):
            waiting = stack.enter_context(process.running(argv, stdin=True, stdout=False))
            stack.enter_context(afterwards(_finished, waiting))
        yield


def _finished(helper: process.Child) -> None:
    with suppress(process.ChildFailed):
        helper.finish()


def _sweep(parent: Path) -> None:
    """Remove the pipe folders of killed runs whose helper was killed as well."""
    for folder in parent.glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        # Its owner may remove it at the same time, and anybody may put something else there: a
        # sweep fails no run.
        with suppress(OSError):
            # A link in /tmp must lead nowhere.
            found = folder.lstat()
            is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
            if is_ours and not Path("/proc", pid).exists():
                _swept(folder)


def _swept(folder: Path) -> None:
    for pipe in folder.glob("*.pipe"):
        if pipe.is_fifo() and not pipe.is_symlink():
            _release(pipe)
    shutil.rmtree(folder, ignore_errors=True)


def _release(pipe: Path) -> None:
    """Remove a pipe while holding it open, so that a server process blocked on it continues."""
    descriptor = os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    with afterwards(os.close, descriptor):
        pipe.unlink()


def _let_in(path: Path, uid: int, permissions: int) -> None:
    """Grant `uid` the permissions on `path` by an ACL, and other users none."""
    if uid == os.geteuid():
        return
    acl = struct.pack("<I", _VERSION)
    for tag, allowed, whom in (
        (_OWNER, _READ_WRITE_ENTER, _NOBODY),
        (_USER, permissions, uid),
        (_GROUP, 0, _NOBODY),
        (_MASK, permissions, _NOBODY),
        (_OTHER, 0, _NOBODY),
    ):
        acl += struct.pack("<HHI", tag, allowed, whom)
    os.setxattr(path, _ACL, acl)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def widened(descriptor: int) -> int:
    """Enlarge the pipe's buffer if the limit of the user's pipes permits it."""
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return descriptor
