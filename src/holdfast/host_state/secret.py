"""Random bytes that this host makes once and keeps: the same for every later run."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from holdfast.model.errors import ConfigInvalid
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.files import discard, state_errors, write_private

SECRET_BYTES = 32


def lasting_secret(path: Path) -> bytes:
    """The secret in `path`, made where there is none yet; two runs that make it agree on one.

    Raises `ConfigInvalid` where the file cannot be used.
    """
    if not path.exists():
        _make(path)
    with state_errors(path):
        secret = path.read_bytes()
    if len(secret) != SECRET_BYTES:
        raise ConfigInvalid(
            f"cannot use state directory file '{path}': it is {len(secret)} bytes long,"
            f" not {SECRET_BYTES}",
            hint="remove it: long values are then stored once more, and nothing is lost",
        )
    return secret


def _make(path: Path) -> None:
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with afterwards(discard, unfinished):
        write_private(unfinished, secrets.token_bytes(SECRET_BYTES))
        # A link refuses to replace: of two runs that begin at once the first one's stays.
        with state_errors(path), suppress(FileExistsError):
            os.link(unfinished, path)
