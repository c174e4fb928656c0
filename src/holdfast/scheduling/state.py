"""The folder where this host remembers its runs: private, and usable by whoever owns it.

Root may run a job by hand where a service user owns the folder; what root makes there is given
to that user, or the next timer could not open it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.errors import ConfigInvalid

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def make_folder(path: Path) -> None:
    """Make `path` inside the state directory, which is the operator's to make."""
    with state_errors(path):
        if not path.is_dir():
            path.mkdir(mode=FOLDER_MODE, exist_ok=True)
            descriptor = os.open(path, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                give_to_owner(descriptor, like=path.parent)
            finally:
                os.close(descriptor)


def open_private(path: Path, flags: int) -> int:
    """A descriptor of a file that only its owner may read."""
    with state_errors(path):
        descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        give_to_owner(descriptor, like=path.parent)
        return descriptor


def give_to_owner(descriptor: int, *, like: Path) -> None:
    """Where root works in somebody else's folder, what it makes becomes theirs.

    By descriptor, never by name: the folder's owner could have put a link in its place.
    """
    if os.geteuid() == 0:
        owner = like.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


@contextmanager
def state_errors(path: Path) -> Iterator[None]:
    """Errors of the disk as an error that says which setting to look at."""
    try:
        yield
    except OSError as error:
        raise ConfigInvalid(
            f"cannot use state directory file '{path}': {os.strerror(error.errno or 0)}",
            hint="the state_directory must exist and belong to the user who runs holdfast",
        ) from error
