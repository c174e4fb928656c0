"""Secrets from where the configuration says they are: read when they are needed, never shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from holdfast.config.repositories import SecretSource
from holdfast.config.secret import NotPrivate, Secret, require_private
from holdfast.model.errors import ConfigInvalid

CREDENTIALS = "CREDENTIALS_DIRECTORY"


def secret_of(
    source: SecretSource | None, what: str, *, environment: Mapping[str, str] = os.environ
) -> Secret | None:
    """The whole secret without the line's end; None without a source. `what` is its key's name.

    Raises `ConfigInvalid` where it is not there, empty, or open to others.
    """
    if source is None:
        return None
    if source.environment:
        value = environment.get(source.environment, "")
        place = f"environment variable {source.environment}"
        hint = "set it in the unit, or in the shell that holdfast is called from"
    else:
        value, place, hint = _in_file(source, what, environment)
    if not value.strip():
        raise ConfigInvalid(f"cannot use {what}: {place} is empty or not set", hint=hint)
    return Secret(value.rstrip("\r\n"))


def _in_file(
    source: SecretSource, what: str, environment: Mapping[str, str]
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


def _path(source: SecretSource, what: str, environment: Mapping[str, str]) -> tuple[Path, str]:
    if source.file:
        require_private(source.file)
        return source.file, "write the secret into it, and nothing else"
    folder = environment.get(CREDENTIALS)
    if not folder:
        raise ConfigInvalid(
            f"cannot use {what}: no systemd credentials are here",
            hint=f"add LoadCredential={source.credential}:PATH to the unit of the job; by hand:"
            f" systemd-run --pty -p LoadCredential={source.credential}:PATH holdfast ...",
        )
    return Path(folder) / str(source.credential), "the credential's file must hold the secret"
