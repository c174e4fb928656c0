"""Secrets: where the configuration says they are, read when they are needed, never shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from holdfast.config.credentials import NoCredential, credential
from holdfast.config.private_files import HINT, NotPrivate, require_private
from holdfast.config.values import AbsolutePath, Strict, Text
from holdfast.model.checked import After, Matching, Mistake
from holdfast.model.errors import ConfigInvalid

_CREDENTIAL = re.compile(r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")


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


def read_secret(path: Path) -> Secret:
    """The first line of `path`; the mode is checked again, as it may have changed since loading."""
    try:
        require_private(path)
        return Secret(path.read_text().partition("\n")[0])
    except NotPrivate as error:
        raise ConfigInvalid(f"cannot use password file: {error.what}", hint=error.hint) from error
    except (OSError, UnicodeDecodeError) as error:
        cause = os.strerror(error.errno or 0) if isinstance(error, OSError) else "it is not text"
        raise ConfigInvalid(f"cannot read password file '{path}': {cause}", hint=HINT) from error


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
    value, place, hint = _found(source, what, environment)
    if not value.strip():
        raise ConfigInvalid(f"cannot use {what}: {place} is empty or not set", hint=hint)
    return Secret(value.rstrip("\r\n"))


def _found(source: SecretPlace, what: str, environment: Mapping[str, str]) -> tuple[str, str, str]:
    """The text of the secret, its place, and what to do where it is empty."""
    if source.environment:
        value = environment.get(source.environment, "")
        place = f"environment variable {source.environment}"
        return value, place, "set it in the unit, or in the shell that runs holdfast"
    try:
        if source.credential:
            value = credential(source.credential, environment).decode()
            return value, f"credential '{source.credential}'", "it must hold the secret"
        path = Path(str(source.file))
        require_private(path)
        return path.read_text(), f"'{path}'", "write the secret into it, and nothing else"
    except (NotPrivate, NoCredential) as error:
        raise ConfigInvalid(f"cannot use {what}: {error.what}", hint=error.hint) from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"cannot use {what}: it is not text", hint="") from error
    except OSError as error:
        cause = os.strerror(error.errno or 0)
        raise ConfigInvalid(
            f"cannot use {what}: '{error.filename}': {cause}",
            hint="the user who runs holdfast must be able to read it",
        ) from error


# Keys whose values are files with a secret in them.
FILE_KEYS = ("key_file", "password_file")


def secret_files(settings: Any) -> Iterator[Path]:
    """The files that settings, or anything in them, name."""
    if isinstance(settings, SecretPlace):
        if settings.file is not None:
            yield settings.file
    elif isinstance(settings, Strict):
        values = vars(settings)
        yield from (values[key] for key in FILE_KEYS if values.get(key) is not None)
        yield from secret_files(values)
    elif isinstance(settings, Mapping):
        for each in settings.values():
            yield from secret_files(each)
    elif isinstance(settings, list | tuple):
        for each in settings:
            yield from secret_files(each)
