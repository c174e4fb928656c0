"""What systemd hands to a service and wants to hear from it: sd_listen_fds(3), sd_notify(3)."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from holdfast.model.errors import ConfigInvalid
from holdfast.runtime.cleanup import afterwards

FIRST_DESCRIPTOR = 3
BACKLOG = 64


def inherited_socket(environment: Mapping[str, str]) -> socket.socket | None:
    """The socket that systemd listens on for us, or None where it did not start us so."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return None
    if environment.get("LISTEN_FDS") != "1":
        raise ConfigInvalid(
            f"cannot serve on {environment.get('LISTEN_FDS')} sockets: exactly one is expected",
            hint="holdfast-sessiond.socket has one ListenStream",
        )
    # Not for children: we have none, and want none to keep it.
    fcntl.fcntl(FIRST_DESCRIPTOR, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    return socket.socket(fileno=FIRST_DESCRIPTOR)


def own_socket(path: Path, *, group: int | None) -> socket.socket:
    """Listen on `path`, open to our user and `group`; a dead daemon's socket is replaced.

    Raises `ConfigInvalid` where another daemon answers there or the path cannot be used.
    """
    try:
        _remove_dead(path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Nobody may connect before owner and mode are right.
        before = os.umask(0o177)
        with afterwards(os.umask, before):
            listening.bind(str(path))
        if group is not None:
            os.chown(path, -1, group)
            path.chmod(0o660)
        listening.listen(BACKLOG)
    except OSError as error:
        raise ConfigInvalid(
            f"cannot listen on '{path}': {os.strerror(error.errno or 0)}",
            hint="see `sessions.socket` in the configuration; is another daemon running?",
        ) from error
    return listening


def _remove_dead(path: Path) -> None:
    if not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        answer = trial.connect_ex(str(path))
    if answer == 0:
        raise OSError(errno.EADDRINUSE, "somebody answers there")
    path.unlink()


class Systemd:
    """systemd as somebody to report to; says nothing where nobody listens."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        wanted = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watchdog_seconds = int(wanted) / 1e6 if wanted.isdigit() and ours else None

    @property
    def heartbeat_seconds(self) -> float | None:
        """How often it wants to hear that we live, with room for two that come late."""
        return self._watchdog_seconds / 3 if self._watchdog_seconds else None

    def tell(self, *words: str) -> None:
        """`READY=1`, `WATCHDOG=1`, `STOPPING=1`, `STATUS=...`."""
        if not self._address:
            return
        # An abstract name begins with @ in the environment and with NUL in the kernel.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection, suppress(OSError):
            connection.sendto("\n".join(words).encode(), address)
