"""All files that the configuration names as secrets, for who must keep others from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from holdfast.config.secret import SecretPlace
from holdfast.config.values import Strict

# Keys whose values are files with a secret in them.
KEYS = ("key_file", "password_file")


def secret_files(settings: Any) -> Iterator[Path]:
    """The files that settings, or anything in them, name."""
    if isinstance(settings, SecretPlace):
        if settings.file is not None:
            yield settings.file
    elif isinstance(settings, Strict):
        values = vars(settings)
        yield from (values[key] for key in KEYS if values.get(key) is not None)
        yield from secret_files(values)
    elif isinstance(settings, Mapping):
        for each in settings.values():
            yield from secret_files(each)
    elif isinstance(settings, list | tuple):
        for each in settings:
            yield from secret_files(each)
