"""Hands archived WAL to a server that recovers, through a socket in the room of its drill.

The server has no network, and its user may read neither the repository nor the configuration: the
drill fetches each file, and a small program that the server starts (`restore_command`) receives it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from holdfast.model.errors import DrillFailed, HoldfastError
from holdfast.runtime.cleanup import afterwards, on_failure
from holdfast.runtime.files import new_file
from holdfast.runtime.kernel import start
from holdfast.runtime.process import User

Fetch = Callable[[str, Path], bool]
"""Writes the WAL file of that name to that path, verified; False if it is not archived.

Raises for a name that is none of a WAL file: the server's user could ask for anything.
"""

SOCKET, CLIENT, FETCHED = "wal.sock", "fetch-wal.py", "wal-fetched"
HERE, ABSENT, BROKEN = b"+", b"-", b"!"
LONGEST_REQUEST, CHUNK_BYTES = 256, 1 << 20
WAITING_CALLS = 4
# A server takes 1 for "not archived"; above 125 it ends instead of taking that for the end of WAL.
NOT_ARCHIVED, FAILED = 1, 200
# Run by Python without its site packages, as the server's user.
PROGRAM = f"""\
import os, socket, sys
place, name, path = sys.argv[1:]
try:
    asking = socket.socket(socket.AF_UNIX)
    asking.connect(place)
    asking.sendall(name.encode() + b"\\n")
    answer = asking.makefile("rb")
    told = answer.read(1)
    if told == {ABSENT!r}:
        sys.exit({NOT_ARCHIVED})
    size = int(answer.readline()) if told == {HERE!r} else -1
    with open(path, "wb") as file:
        while block := answer.read({CHUNK_BYTES}):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        sys.exit(0 if file.tell() == size else {FAILED})
except (OSError, ValueError) as error:
    print(f"cannot fetch {{name}}: {{error}}", file=sys.stderr)
    sys.exit({FAILED})
"""


class WalSocket:
    """Answers the calls of one server, one at a time, while it recovers.

    `problem` is the first error of a fetch: the server only learns that it has to end.
    """

    def __init__(self, folder: Path, sockets: Path, *, fetch: Fetch, user: User | None) -> None:
        self._folder = folder
        self._place = sockets / SOCKET
        self._fetch = fetch
        self._user = user
        self._listening: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self.problem: HoldfastError | None = None
        self.files = 0

    @property
    def command(self) -> str:
        """The `restore_command`; the server fills in `%f` and `%p`."""
        words = (sys.executable, "-I", "-S", str(self._folder / CLIENT), str(self._place))
        return " ".join([*(shlex.quote(each).replace("%", "%%") for each in words), "%f", "%p"])

    def open(self) -> None:
        """Begin to answer; raises `OSError`."""
        client = self._folder / CLIENT
        new_file(client, PROGRAM.encode())
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with on_failure(listening.close):
            listening.bind(str(self._place))
            if self._user is not None:
                for each in (client, self._place):
                    # The server's user owns the folders: a link could be in the place of these.
                    os.chown(each, self._user.user, self._user.group, follow_symlinks=False)
            listening.listen(WAITING_CALLS)
        self._listening = listening
        self._thread = threading.Thread(target=self._answer_all, name="drill wal", daemon=True)
        start(self._thread)

    def _answer_all(self) -> None:
        while self._listening is not None:
            try:
                call, _ = self._listening.accept()
            except OSError:
                return
            with afterwards(call.close), suppress(OSError):
                self._answer(call)

    def _answer(self, call: socket.socket) -> None:
        name = call.makefile("rb").readline(LONGEST_REQUEST).decode(errors="replace").strip()
        path = self._folder / FETCHED
        try:
            if not self._fetch(name, path):
                call.sendall(ABSENT)
                return
        except HoldfastError as error:
            self.problem = self.problem or error
            call.sendall(BROKEN)
            return
        except Exception as error:  # noqa: BLE001 - the thread goes on, and `problem` is raised
            self.problem = self.problem or DrillFailed(f"cannot fetch WAL '{name}': {error}")
            call.sendall(BROKEN)
            return
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        with afterwards(path.unlink), os.fdopen(os.open(path, flags), "rb") as file:
            call.sendall(HERE + b"%d\n" % os.fstat(file.fileno()).st_size)
            call.sendfile(file)
        self.files += 1

    def close(self) -> None:
        """Stop answering; may be called more than once."""
        listening, self._listening = self._listening, None
        if listening is None:
            return
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        if self._thread is not None:
            self._thread.join()
        self._place.unlink(missing_ok=True)
        shutil.rmtree(self._folder / FETCHED, ignore_errors=True)
