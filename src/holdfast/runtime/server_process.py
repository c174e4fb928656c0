"""A server process that holdfast starts for itself: waited for until it is ready, then ended.

A server that was built with systemd's protocol says by itself when it is ready (sd_notify(3)), and
the kernel says when it has ended: both end a wait at once. A server without that protocol is asked
again after a pause.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.runtime.cleanup import afterwards, on_failure
from holdfast.runtime.files import opened
from holdfast.runtime.process import Outliving, User, outliving

ASK_AGAIN_SECONDS = 0.5
NOTICE_BYTES = 4096
NOTIFY_SOCKET = "notify"
# The environment of this process may hold secrets, and addresses of other servers.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LOG_LINES, _LOG_TAIL_BYTES = 4, 1 << 16
_LOG_FLAGS = os.O_WRONLY | os.O_APPEND


def environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of a program that knows nothing of this host but `folder`."""
    path = os.environ.get("PATH", _PATH)
    own = {"PATH": path, "HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C.UTF-8"}
    return own | dict(more or {})


class ServerProcess:
    """One server, which works in a folder of its own."""

    def __init__(self, process: Outliving, notices: socket.socket) -> None:
        self._process = process
        self._notices = notices

    @classmethod
    def started(
        cls,
        argv: Sequence[str],
        *,
        folder: Path,
        notices_in: Path,
        log: Path,
        user: User | None = None,
        env: Mapping[str, str] | None = None,
    ) -> ServerProcess:
        """Start `argv` in `folder`, with all its output in `log`.

        The socket for its notices is made in `notices_in`. Where `user` is given, that user must
        not be able to write there, nor in the folder of the log. Raises `ToolMissing` and
        `OSError`.
        """
        place = notices_in / NOTIFY_SOCKET
        place.unlink(missing_ok=True)
        notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        with on_failure(notices.close):
            notices.bind(str(place))
            with os.fdopen(opened(log, _LOG_FLAGS), "ab") as file:
                if user is not None:
                    os.chown(place, user.user, user.group, follow_symlinks=False)
                    os.fchown(file.fileno(), user.user, user.group)
                told = environment(folder, {"NOTIFY_SOCKET": str(place), **(env or {})})
                process = outliving(argv, log=file, user=user, cwd=folder, env=told)
        return cls(process, notices)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.is_running

    def wait(self, is_ready: Callable[[], bool], *, within_seconds: float) -> bool:
        """Whether `is_ready`; False once the process has ended or the time is over.

        It is asked whenever the server sends a notice, and after each pause.
        """
        ends = time.monotonic() + within_seconds
        with _end_of(self.pid) as ended:
            waiting = select.poll()
            waiting.register(self._notices, select.POLLIN)
            waiting.register(ended, select.POLLIN)
            while self._process.is_running:
                if is_ready():
                    return True
                left = ends - time.monotonic()
                if left <= 0:
                    return False
                waiting.poll(min(left, ASK_AGAIN_SECONDS) * 1000)
                self._forget_notices()
        return False

    def _forget_notices(self) -> None:
        with suppress(BlockingIOError):
            while self._notices.recv(NOTICE_BYTES):
                pass

    def end(self, number: signal.Signals = signal.SIGKILL, *, within_seconds: float = 0) -> None:
        """End the process with `number`, with SIGKILL after that time, and reap it.

        From any thread, and more than once.
        """
        self._process.end(number, within_seconds=within_seconds)

    def close(self) -> None:
        """Forget the process; to be ended first, unless it is to outlive holdfast."""
        self._notices.close()


def last_words(log: Path, is_grave: Callable[[str], bool]) -> list[str]:
    """The last few grave lines near the end of a server's log, or its last lines if none is."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _LOG_TAIL_BYTES))
        lines = file.read(_LOG_TAIL_BYTES).decode(errors="replace").splitlines()
        grave = [line for line in lines if is_grave(line)]
        words = (line.strip() for line in (grave or lines)[-_LOG_LINES:])
        return [each for each in words if each]
    return []


@contextmanager
def _end_of(pid: int) -> Iterator[int]:
    """A descriptor that becomes readable when the child process `pid` ends."""
    descriptor = os.pidfd_open(pid)
    with afterwards(os.close, descriptor):
        yield descriptor
