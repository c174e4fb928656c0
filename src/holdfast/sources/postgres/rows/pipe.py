"""COPY into a named pipe: the server writes, we read large buffers, no protocol in between.

Only for a server on this host whose login may write server files.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import select
import shutil
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import psycopg

from holdfast.model.backup import Buffer
from holdfast.runtime.cleanup import afterwards
from holdfast.sources.postgres.rows.copy_command import POLL_MILLISECONDS, CopyCommand

# The most that an ordinary user may ask for (fs.pipe-max-size): fewer turns between two programs.
PIPE_BYTES = 1 << 20
BUFFER_BYTES = 1 << 20

PREFIX = "holdfast-pipes-"

# acl(5) as the kernel keeps it: a version, then tag, permissions and id, in this order of tags.
_ACL = "system.posix_acl_access"
_VERSION, _NOBODY = 2, 0xFFFFFFFF
_OWNER, _USER, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_READ_WRITE_ENTER, READ, WRITE, _ENTER = 7, 4, 2, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipes:
    """Named pipes in a folder that nobody but we and the server's own user can enter."""

    folder: Path
    server_uid: int
    server_may: int

    @contextmanager
    def made(self) -> Iterator[Path]:
        """A new pipe that the server may open, gone after the block."""
        path = self.folder / f"{secrets.token_hex(8)}.pipe"
        os.mkfifo(path, 0o600)
        path.chmod(0o600)
        with afterwards(_remove, path):
            _let_in(path, self.server_uid, self.server_may)
            yield path

    @contextmanager
    def opened(self) -> Iterator[tuple[Path, FileIO]]:
        """A new pipe, open for reading already, so that the server's open never waits for ours."""
        with self.made() as path:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with FileIO(widened(descriptor)) as pipe:
                yield path, pipe


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def widened(descriptor: int) -> int:
    """The pipe with more room; where its user's pipes hold too much, it works with less."""
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return descriptor


@contextmanager
def pipes_for(server_uid: int, *, server_may: int = WRITE) -> Iterator[Pipes]:
    """A folder of our own for the pipes, gone after the block.

    systemd's runtime folder where there is one: a unit's private /tmp would hide the pipes from
    the server. Not world-writable, because `fs.protected_fifos` refuses pipes in such folders.
    """
    parent = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0] or None
    _sweep(Path(parent or tempfile.gettempdir()))
    prefix = f"{PREFIX}{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as folder:
        path = Path(folder)
        if parent:
            _let_in(Path(parent), server_uid, _ENTER)
        _let_in(path, server_uid, _ENTER)
        yield Pipes(folder=path, server_uid=server_uid, server_may=server_may)


def _sweep(parent: Path) -> None:
    """What runs that were killed left here."""
    for folder in parent.glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        # Its owner may take it away while we look.
        with suppress(FileNotFoundError):
            if folder.stat().st_uid == os.geteuid() and not Path("/proc", pid).exists():
                shutil.rmtree(folder, ignore_errors=True)


def _let_in(path: Path, uid: int, permissions: int) -> None:
    """Give `uid` what it needs of `path`, and nobody else anything."""
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


class CopyIntoPipe(CopyCommand):
    """One `COPY ... TO 'pipe'` under way; `pipe` is our end of it, not blocking."""

    def __init__(
        self,
        connection: psycopg.Connection,
        statement: str,
        *,
        pipe: FileIO,
        subject: str,
        user: str,
        aborted: threading.Event,
    ) -> None:
        super().__init__(connection, statement, subject=subject, user=user, aborted=aborted)
        self._pipe = pipe
        self._writer_has_left = False

    def close(self) -> None:
        """A server that waits for room in the pipe hears no cancel: a pipe without us ends it."""
        self._pipe.close()
        super().close()

    def _buffers(self) -> Iterator[Buffer]:
        # One buffer for all: what we yield is only valid until the next one is asked for.
        buffer = memoryview(bytearray(BUFFER_BYTES))
        filled = 0
        while True:
            # The server says that it is done only after it has closed its end; so once it has
            # said so, an empty pipe is the end, and not a writer who is yet to come.
            answered = not self._pgconn.is_busy()
            size = self._pipe.readinto(buffer[filled:])
            if size:
                filled += size
                if filled == BUFFER_BYTES:
                    yield buffer
                    filled = 0
            elif answered:
                break
            else:
                self._wait_for_either()
        if filled:
            yield buffer[:filled]

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
                # From now on the pipe would wake us at once, for ever, with nothing in it.
                self._writer_has_left = True
