"""Named pipes for another user's process, such as a database server, released however we end.

`python -m holdfast.runtime.named_pipes` releases those of killed processes. A systemd unit calls it
after its end, because systemd may have killed the helper that releases them otherwise.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path

from holdfast.model.errors import TasksRefused, ToolMissing
from holdfast.model.lazy_dataclass import dataclass
from holdfast.runtime import process
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.process import widened

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
    parent = _runtime_folder()
    release_left()
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


def _runtime_folder() -> str | None:
    return os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0] or None


def release_left() -> None:
    """Remove the pipe folders of killed runs whose helper was killed as well."""
    for folder in Path(_runtime_folder() or tempfile.gettempdir()).glob(f"{PREFIX}*"):
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


if __name__ == "__main__":
    release_left()
