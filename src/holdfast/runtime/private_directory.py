"""The folder where this host remembers its runs: private, and usable by whoever owns it.

Root may run a job by hand where a service user owns the folder; what root makes there is given
to that user, or the next timer could not open it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.model.errors import (
    ConfigInvalid,
    HoldfastError,
    RepositoryFull,
    RepositoryReadOnly,
    RepositoryUnreachable,
)
from holdfast.runtime import files
from holdfast.runtime.cleanup import afterwards, on_failure
from holdfast.runtime.kernel import disk_error

# What `state_errors` raises.
STATE_FAULTS = (ConfigInvalid, RepositoryFull, RepositoryReadOnly, RepositoryUnreachable)


def make_folder(path: Path) -> None:
    """Make `path` inside the state directory, which is the operator's to make."""
    with state_errors(path):
        if files.make_folder(path):
            descriptor = os.open(path, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with afterwards(os.close, descriptor):
                give_to_owner(descriptor, like=path.parent)


def open_private(path: Path, flags: int) -> int:
    """A descriptor of a file that only its owner may read."""
    with state_errors(path):
        descriptor = files.opened(path, flags)
        with on_failure(os.close, descriptor):
            give_to_owner(descriptor, like=path.parent)
        return descriptor


def write_private(path: Path, content: bytes) -> None:
    """`content` as the new file `path`, on the disk when this returns."""
    descriptor = open_private(path, os.O_WRONLY | os.O_EXCL)
    with state_errors(path), afterwards(os.close, descriptor):
        files.write_all(descriptor, content)
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
    if isinstance(error, OSError) and error.errno == files.NO_FILE:
        cause = "it is no regular file"
    return disk_error(error, what) or ConfigInvalid(
        f"{what}: {cause}",
        hint="the state_directory must exist and belong to the user who runs holdfast",
    )
