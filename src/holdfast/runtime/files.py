"""Files of this host: with a stated mode, whatever the umask, whole, and their owner's.

Root may run a job by hand where a service user owns the state directory; what root makes there is
given to that user, or the next timer could not open it.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.model.backup import Buffer
from holdfast.model.errors import (
    ConfigInvalid,
    HoldfastError,
    RepositoryFull,
    RepositoryReadOnly,
    RepositoryUnreachable,
)
from holdfast.runtime.cleanup import afterwards, on_failure
from holdfast.runtime.kernel import disk_error

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
# What a server, which is somebody else, has to get through to its own folder.
PASSABLE_FOLDER = 0o755
# What the kernel says where nobody reads from a named pipe, and of a socket.
NO_FILE = errno.ENXIO
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def opened(path: Path | str, flags: int, *, mode: int = PRIVATE_FILE) -> int:
    """A descriptor of the file `path`, never of what a link leads to.

    A file that this call makes has exactly `mode`; one that was there keeps its own. What is there
    and is no regular file raises `OSError` with `NO_FILE`, and is never waited for.
    """
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        # Told apart here: only what is new gets a mode, and only its maker may give it one.
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
        # Opening a named pipe waits for its reader, which may never come.
        descriptor = os.open(path, flags | os.O_CREAT | os.O_NONBLOCK, mode)
        with on_failure(os.close, descriptor):
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(NO_FILE, os.strerror(NO_FILE), str(path)) from None
        return descriptor
    with on_failure(os.close, descriptor):
        os.fchmod(descriptor, mode)
    return descriptor


def make_folder(path: Path, *, mode: int = PRIVATE_FOLDER, above: int | None = None) -> bool:
    """Make `path` where it is not there, with exactly `mode`; whether it was made.

    With `above`, what is missing on the way to it is made too, each with exactly that mode.
    """
    # Asked first: some file systems refuse a name that exists for another reason.
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
    # By descriptor: whoever owns the folder above could have put a link in its place.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with afterwards(os.close, descriptor):
        os.fchmod(descriptor, mode)
    return True


def new_file(path: Path, content: Buffer, *, mode: int = PRIVATE_FILE) -> None:
    """`content` as the file `path` that nobody made before, on the disk when this returns."""
    descriptor = opened(path, _NEW, mode=mode)
    with afterwards(os.close, descriptor):
        write_all(descriptor, content)
        os.fsync(descriptor)


def write_all(descriptor: int, content: Buffer) -> int:
    """Every byte of `content`; how many. A disk that fills up may take only the first of them."""
    view = memoryview(content)
    size_bytes = len(view)
    while view:
        view = view[os.write(descriptor, view) :]
    return size_bytes


@contextmanager
def whole_file(
    path: Path, *, mode: int = PRIVATE_FILE, unfinished: Path | None = None
) -> Iterator[int]:
    """A descriptor to write; `path` is there, or is replaced, once the block has succeeded.

    Its name until then is one that nobody else has; of `unfinished` there is never more than one,
    as what a run that was killed has left under that name is removed first.
    """
    if unfinished is None:
        unfinished = path.with_name(f".{path.name[:200]}-{secrets.token_hex(4)}")
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


# What `state_errors` raises.
STATE_FAULTS = (ConfigInvalid, RepositoryFull, RepositoryReadOnly, RepositoryUnreachable)


def make_state_folder(path: Path) -> None:
    """Make `path` inside the state directory, which is the operator's to make."""
    with state_errors(path):
        if make_folder(path):
            descriptor = os.open(path, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with afterwards(os.close, descriptor):
                give_to_owner(descriptor, like=path.parent)


def open_private(path: Path, flags: int) -> int:
    """A descriptor of a file that only its owner may read."""
    with state_errors(path):
        descriptor = opened(path, flags)
        with on_failure(os.close, descriptor):
            give_to_owner(descriptor, like=path.parent)
        return descriptor


def write_private(path: Path, content: bytes) -> None:
    """`content` as the new file `path`, on the disk when this returns."""
    descriptor = open_private(path, os.O_WRONLY | os.O_EXCL)
    with state_errors(path), afterwards(os.close, descriptor):
        write_all(descriptor, content)
        os.fsync(descriptor)


def discard(path: Path) -> None:
    """Remove what was not finished, if it is there."""
    with state_errors(path):
        path.unlink(missing_ok=True)


def lines_of(path: Path, *, most_bytes: int) -> Iterator[bytes]:
    """The lines of a file, none where there is no file; they end before one that is longer, or
    that was cut short: what comes after it nobody can tell."""
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
    """Where root works in somebody else's folder, what it makes becomes theirs.

    By descriptor, never by name: the folder's owner could have put a link in its place.
    """
    if os.geteuid() == 0:
        owner = like.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


@contextmanager
def state_errors(path: Path) -> Iterator[None]:
    """Errors of the disk as errors that say which setting, or which disk, to look at."""
    try:
        yield
    except OSError as error:
        raise state_error(error, path) from error


def state_error(error: Exception, path: Path) -> HoldfastError:
    """What the kernel or SQLite says about `path`, in our words."""
    what = f"cannot use state directory file '{path}'"
    cause = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
    if isinstance(error, OSError) and error.errno == NO_FILE:
        cause = "it is no regular file"
    return disk_error(error, what) or ConfigInvalid(
        f"{what}: {cause}",
        hint="the state_directory must exist and belong to the user who runs holdfast",
    )
