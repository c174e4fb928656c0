"""Files that hold secrets: others must not be able to read them."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from holdfast.model.errors import ConfigInvalid
from holdfast.runtime.files import new_file

GROUP = "holdfast"
# No permissions for others; the group may only read.
FORBIDDEN_BITS = 0o037
HINT = "the file must hold nothing but the secret"


class NotPrivate(Exception):
    """A file with a secret is missing, or others can read it."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


def require_private(path: Path, *, groups: Collection[int] = ()) -> None:
    """Raise `NotPrivate` unless `path` is a regular file of 0640 or less.

    The group may be root's, ours, `holdfast`, or one of `groups`.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise NotPrivate(f"cannot read '{path}': {os.strerror(error.errno or 0)}", HINT) from error
    if not stat.S_ISREG(found.st_mode):
        raise NotPrivate(f"'{path}' is not a regular file", HINT)
    if found.st_mode & FORBIDDEN_BITS:
        mode = stat.S_IMODE(found.st_mode)
        raise NotPrivate(f"'{path}' is accessible to others (mode {mode:04o})", _command_for(path))
    if found.st_mode & stat.S_IRGRP and found.st_gid not in {*_own_groups(), *groups}:
        raise NotPrivate(
            f"'{path}' can be read by group {found.st_gid}, to which this user does not belong",
            _command_for(path),
        )


def read_private(path: Path, *, what: str) -> bytes:
    """The content of a key file, which must be private; raises `ConfigInvalid` naming `what`."""
    try:
        require_private(path)
        return path.read_bytes()
    except NotPrivate as error:
        hint = f"chown it to the user who runs holdfast, and chmod 0600 {path}"
        raise ConfigInvalid(f"cannot use {what}: {error.what}", hint=hint) from error
    except OSError as error:
        cause = os.strerror(error.errno or 0)
        raise ConfigInvalid(f"cannot read {what} '{path}': {cause}") from error


def write_private(path: Path, content: bytes) -> None:
    """Write a new key file that only its owner can read; raises `ConfigInvalid`.

    It never replaces an existing file, which may be the only key to somebody's backups.
    """
    try:
        new_file(path, content)
    except OSError as error:
        cause = os.strerror(error.errno or 0)
        hint = "name a file that does not exist yet, in a folder that exists"
        raise ConfigInvalid(f"cannot write key '{path}': {cause}", hint=hint) from error


def _command_for(path: Path) -> str:
    return f"chown root:{GROUP} {path} && chmod 0640 {path}"


def _own_groups() -> set[int]:
    groups = {0, os.getegid()}
    with suppress(KeyError):  # without that group on the host, nobody gets access by it
        groups.add(grp.getgrnam(GROUP).gr_gid)
    return groups
