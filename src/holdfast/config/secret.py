"""Secrets: where the configuration says they are, read when they are needed, never shown."""

from __future__ import annotations

import grp
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from holdfast.config.values import AbsolutePath, Strict, Text
from holdfast.model.checked import After, Matching, Mistake
from holdfast.model.errors import ConfigInvalid
from holdfast.runtime.files import new_file

GROUP = "holdfast"
# No permissions for others; the group may only read.
FORBIDDEN_BITS = 0o037
_CREDENTIAL = re.compile(r"^[A-Za-z0-9._-]+$")
CREDENTIALS = "CREDENTIALS_DIRECTORY"
_HINT = "the file must hold nothing but the secret"


class Secret:
    """Prints as `***` everywhere; `reveal` returns the value to the driver that needs it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format("***", spec)


class NotPrivate(Exception):
    """A file with a secret is missing, or others can read it."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


def require_private(path: Path) -> None:
    """Raise `NotPrivate` unless `path` is a regular file of 0640 or less.

    The group may be root's, ours, or `holdfast`.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise NotPrivate(f"cannot read '{path}': {os.strerror(error.errno or 0)}", _HINT) from error
    if not stat.S_ISREG(found.st_mode):
        raise NotPrivate(f"'{path}' is not a regular file", _HINT)
    if found.st_mode & FORBIDDEN_BITS:
        mode = stat.S_IMODE(found.st_mode)
        raise NotPrivate(f"'{path}' is accessible to others (mode {mode:04o})", _command_for(path))
    if found.st_mode & stat.S_IRGRP and found.st_gid not in _own_groups():
        raise NotPrivate(
            f"'{path}' can be read by group {found.st_gid}, to which this user does not belong",
            _command_for(path),
        )


def read_secret(path: Path) -> Secret:
    """The first line of `path`; the mode is checked again, as it may have changed since loading."""
    try:
        require_private(path)
        return Secret(path.read_text().partition("\n")[0])
    except NotPrivate as error:
        raise ConfigInvalid(f"cannot use password file: {error.what}", hint=error.hint) from error
    except (OSError, UnicodeDecodeError) as error:
        cause = os.strerror(error.errno or 0) if isinstance(error, OSError) else "it is not text"
        raise ConfigInvalid(f"cannot read password file '{path}': {cause}", hint=_HINT) from error


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


def _private_file(path: Path) -> Path:
    try:
        require_private(path)
    except NotPrivate as error:
        raise Mistake(error.what, hint=error.hint) from error
    return path


SecretPath = Annotated[AbsolutePath, After(_private_file)]


class SecretPlace(Strict):
    """The place of a secret: a systemd credential, a private file or an environment variable.

    The file is looked at when the secret is needed.
    """

    credential: Annotated[str, Matching(_CREDENTIAL)] | None = None
    file: AbsolutePath | None = None
    environment: Text | None = None

    def require_sound(self) -> None:
        """A secret is in one place."""
        if len([each for each in (self.credential, self.file, self.environment) if each]) != 1:
            raise Mistake(
                "a secret must be in exactly one place",
                hint="name it as one of {credential: NAME}, {file: PATH}, {environment: NAME}",
            )


class SecretSource(SecretPlace):
    """The place of a secret without which the configuration cannot be used."""

    file: SecretPath | None = None


def secret_of(
    source: SecretPlace | None, what: str, *, environment: Mapping[str, str] = os.environ
) -> Secret | None:
    """The whole secret without trailing newlines; None without a source. `what` is its setting.

    Raises `ConfigInvalid` if the secret is missing, empty, or readable by others.
    """
    if source is None:
        return None
    if source.environment:
        value = environment.get(source.environment, "")
        place = f"environment variable {source.environment}"
        hint = "set it in the unit, or in the shell that runs holdfast"
    else:
        value, place, hint = _in_file(source, what, environment)
    if not value.strip():
        raise ConfigInvalid(f"cannot use {what}: {place} is empty or not set", hint=hint)
    return Secret(value.rstrip("\r\n"))


def _in_file(
    source: SecretPlace, what: str, environment: Mapping[str, str]
) -> tuple[str, str, str]:
    try:
        path, hint = _path(source, what, environment)
        return path.read_text(), f"'{path}'", hint
    except NotPrivate as error:
        raise ConfigInvalid(f"cannot use {what}: {error.what}", hint=error.hint) from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"cannot use {what}: it is not text", hint="") from error
    except OSError as error:
        cause = os.strerror(error.errno or 0)
        raise ConfigInvalid(
            f"cannot use {what}: '{error.filename}': {cause}",
            hint=f"add LoadCredential={source.credential}:PATH to the unit of the job"
            if source.credential
            else "the user who runs holdfast must be able to read it",
        ) from error


def _path(source: SecretPlace, what: str, environment: Mapping[str, str]) -> tuple[Path, str]:
    if source.file:
        require_private(source.file)
        return source.file, "write the secret into it, and nothing else"
    folder = environment.get(CREDENTIALS)
    if not folder:
        raise ConfigInvalid(
            f"cannot use {what}: there are no systemd credentials",
            hint=f"add LoadCredential={source.credential}:PATH to the unit of the job; by hand:"
            f" systemd-run --pty -p LoadCredential={source.credential}:PATH holdfast ...",
        )
    return Path(folder) / str(source.credential), "the credential's file must hold the secret"
