"""Files of this host, with an exact mode whatever the umask, written whole, with the right owner.

Root may run a job by hand while a service user owns the state directory. Files that root creates
there are given to that user, or the next timer could not open them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.model.errors import (
    ConfigInvalid,
    HoldfastError,
    RepositoryFull,
    RepositoryReadOnly,
    RepositoryUnreachable,
)
from holdfast.runtime import kernel_calls
from holdfast.runtime.cleanup import afterwards, on_failure
from holdfast.runtime.kernel import disk_error

if TYPE_CHECKING:
    from holdfast.model.backup import Buffer

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
# A database server, which runs as another user, must get through to its own folder.
PASSABLE_FOLDER = 0o755
# The kernel's answer for a named pipe without a reader, and for a socket.
NO_FILE = errno.ENXIO
# Between two attempts to lock.
LOCK_PAUSE_SECONDS = 0.01
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def opened(path: Path | str, flags: int, *, mode: int = PRIVATE_FILE) -> int:
    """A descriptor of the file `path`; never follows a link.

    A file that this call creates has exactly `mode`; an existing file keeps its own. If `path` is
    not a regular file, it raises `OSError` with `NO_FILE` and never blocks.
    """
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        # Creating and opening are separate: only the creator of a new file may set its mode.
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
        # Opening a named pipe would block until it has a reader, which may never come.
        descriptor = os.open(path, flags | os.O_CREAT | os.O_NONBLOCK, mode)
        with on_failure(os.close, descriptor):
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(NO_FILE, os.strerror(NO_FILE), str(path)) from None
        return descriptor
    with on_failure(os.close, descriptor):
        os.fchmod(descriptor, mode)
    return descriptor


def make_folder(path: Path, *, mode: int = PRIVATE_FOLDER, above: int | None = None) -> bool:
    """Create the folder `path` with exactly `mode`, if it is missing; whether it was created.

    With `above`, missing parents are created too, each with exactly the mode `above`.
    """
    # Checked first: some file systems report another error than EEXIST for a name that exists.
    if path.is_dir():
        return False
    if above is not None and not path.parent.is_dir():
        make_folder(path.parent, mode=above, above=above)
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        if not path.is_dir():
            raise
        return False
    # By descriptor: the owner of the parent folder could have put a link in its place.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with afterwards(os.close, descriptor):
        os.fchmod(descriptor, mode)
    return True


def new_file(path: Path, content: Buffer, *, mode: int = PRIVATE_FILE) -> None:
    """Write the new file `path`; `content` is on the disk when this returns."""
    descriptor = opened(path, _NEW, mode=mode)
    with afterwards(os.close, descriptor):
        write_all(descriptor, content)
        os.fsync(descriptor)


def write_all(descriptor: int, content: Buffer) -> int:
    """Write every byte of `content`; the number of bytes. One `os.write` may take only some."""
    view = memoryview(content)
    size_bytes = len(view)
    while view:
        view = view[os.write(descriptor, view) :]
    return size_bytes


@contextmanager
def whole_file(
    path: Path, *, mode: int = PRIVATE_FILE, unfinished: Path | None = None
) -> Iterator[int]:
    """A descriptor to write; `path` is created or replaced once the block has succeeded.

    Until then the file has a unique temporary name. With `unfinished` it has that name instead, and
    a file that a killed run left under it is removed first, so that there is never more than one.
    """
    if unfinished is None:
        unfinished = path.with_name(f".{path.name[:200]}-{kernel_calls.token_hex(4)}")
    else:
        _discard(unfinished)
    with on_failure(_discard, unfinished):
        descriptor = opened(unfinished, _NEW, mode=mode)
        with afterwards(os.close, descriptor):
            yield descriptor
            os.fsync(descriptor)
        unfinished.rename(path)


def _discard(path: Path) -> None:
    path.unlink(missing_ok=True)


# The errors that `state_errors` raises.
STATE_FAULTS = (ConfigInvalid, RepositoryFull, RepositoryReadOnly, RepositoryUnreachable)


def make_state_folder(path: Path) -> None:
    """Create `path` in the state directory; the operator creates the state directory itself."""
    with state_errors(path):
        if make_folder(path):
            descriptor = os.open(path, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with afterwards(os.close, descriptor):
                give_to_owner(descriptor, like=path.parent)


def open_private(path: Path, flags: int) -> int:
    """A descriptor of a file that only its owner may read, created if it is missing."""
    with state_errors(path):
        descriptor = opened(path, flags)
        with on_failure(os.close, descriptor):
            give_to_owner(descriptor, like=path.parent)
        return descriptor


def write_private(path: Path, content: bytes) -> None:
    """Write the new file `path`; `content` is on the disk when this returns."""
    descriptor = open_private(path, os.O_WRONLY | os.O_EXCL)
    with state_errors(path), afterwards(os.close, descriptor):
        write_all(descriptor, content)
        os.fsync(descriptor)


def replace_private(path: Path, content: bytes) -> None:
    """Create or replace `path`, whole or not at all: a killed process must lose no older content.

    `content` is on the disk when this returns.
    """
    # No file that a reader looks for begins with a dot.
    unfinished = path.with_name(f".{kernel_calls.token_hex(8)}")
    with on_failure(discard, unfinished):
        write_private(unfinished, content)
        with state_errors(path):
            unfinished.rename(path)


@contextmanager
def alone(folder: Path, *, seconds: float) -> Iterator[None]:
    """Wait until no other process is in such a block for `folder`.

    Raises `ConfigInvalid` after `seconds`: the other process may be stopped or hang.
    """
    path = folder / ".lock"
    descriptor = open_private(path, os.O_RDWR)
    with afterwards(os.close, descriptor):
        ends = time.monotonic() + seconds
        while not _is_locked(descriptor):
            left = ends - time.monotonic()
            if left <= 0:
                raise ConfigInvalid(
                    f"cannot lock '{path}': another process holds it",
                    hint=f"it may be stopped or hang: fuser -v {path} names it",
                )
            time.sleep(min(LOCK_PAUSE_SECONDS, left))
        yield


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def discard(path: Path) -> None:
    """Remove an unfinished file, if it exists."""
    with state_errors(path):
        path.unlink(missing_ok=True)


def lines_of(path: Path, *, most_bytes: int) -> Iterator[bytes]:
    """The lines of a file; none if it does not exist.

    They end before a line that is too long or cut short, because nothing after it can be trusted.
    """
    with state_errors(path):
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            return
        with os.fdopen(descriptor, "rb") as file:
            while (line := file.readline(most_bytes)).endswith(b"\n"):
                yield line[:-1]


def give_to_owner(descriptor: int, *, like: Path) -> None:
    """If root works in another user's folder, give that user the file that root made.

    By descriptor, never by name: the folder's owner could have put a link in its place.
    """
    if os.geteuid() == 0:
        owner = like.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def give_all(folder: Path, *, user: int, group: int) -> None:
    """As root, give `folder` and all below it to a user; links are given, never followed.

    By descriptors below `folder`: its owner could put a link in the place of a folder in it.
    """
    os.chown(folder, user, group, follow_symlinks=False)
    if not stat.S_ISDIR(os.lstat(folder).st_mode):
        return
    for _, folders, files, descriptor in os.fwalk(folder, follow_symlinks=False):
        for name in (*folders, *files):
            os.chown(name, user, group, dir_fd=descriptor, follow_symlinks=False)


@contextmanager
def state_errors(path: Path) -> Iterator[None]:
    """Translates errors of the disk into errors that name the setting or the disk to check."""
    try:
        yield
    except OSError as error:
        raise state_error(error, path) from error


def state_error(error: Exception, path: Path) -> HoldfastError:
    """An error of the kernel or of SQLite about `path`, as one of our errors."""
    what = f"cannot use state directory file '{path}'"
    cause = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
    if isinstance(error, OSError) and error.errno == NO_FILE:
        cause = "it is not a regular file"
    return disk_error(error, what) or ConfigInvalid(
        f"{what}: {cause}",
        hint="the state_directory must exist and belong to the user who runs holdfast",
    )
