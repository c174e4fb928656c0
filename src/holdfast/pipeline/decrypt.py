"""Standard age files back into what was sealed, with an identity that is never printed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyrage

from holdfast.lockstep import Lockstep, ReadsFrom, WritesTo
from holdfast.pipeline.flow import CorruptStream, Stage

SECRET_PREFIX = "AGE-SECRET-KEY-1"  # noqa: S105 - what every identity begins with, not one of them
# pyrage has one error for everything; this is how it says that none of the identities fits.
_NO_MATCH = "No matching keys found"


class CannotOpen(Exception):
    """None of the identities opens this age file."""


class Identities:
    """The private halves of recipients; shows as `***` wherever it is printed."""

    __slots__ = ("_keys",)

    def __init__(self, keys: list[Any]) -> None:
        self._keys = keys

    @classmethod
    def parse(cls, text: str) -> Identities:
        """What `age-keygen` writes: an identity a line, and comments.

        Raises `ValueError` naming the line, never its content.
        """
        keys: list[Any] = []
        for number, line in enumerate(text.splitlines(), start=1):
            word = line.strip()
            if word and not word.startswith("#"):
                keys.append(_identity(word, number))
        if not keys:
            raise ValueError(f"no line begins with {SECRET_PREFIX}")
        return cls(keys)

    @classmethod
    def generate(cls) -> Identities:
        return cls([pyrage.x25519.Identity.generate()])

    @property
    def recipients(self) -> tuple[str, ...]:
        """What may be sealed for them: public."""
        return tuple(str(key.to_public()) for key in self._keys)

    def reveal(self) -> str:
        """The identities themselves, for the file that is to hold them."""
        return "".join(f"{key}\n" for key in self._keys)

    @contextmanager
    def decryption(self) -> Iterator[Stage]:
        """The stage that opens an age file; raises `CannotOpen`, `CorruptStream`."""

        def unseal(source: ReadsFrom, sink: WritesTo) -> None:
            with _translated():
                pyrage.decrypt_io(source, sink, self._keys)

        with Lockstep(unseal) as stage:
            yield stage

    def opened(self, data: bytes) -> bytes:
        """What was sealed in a few bytes; raises as the stage does."""
        with _translated():
            content: bytes = pyrage.decrypt(data, self._keys)
        return content

    def __repr__(self) -> str:
        return "***"


def _identity(word: str, number: int) -> Any:
    try:
        return pyrage.x25519.Identity.from_str(word)
    except pyrage.IdentityError:
        # Its words and its cause might quote the secret.
        raise ValueError(f"line {number} is not an age identity ({SECRET_PREFIX}...)") from None


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (pyrage.DecryptError, OSError) as error:
        # What the header says comes as the one, what is wrong behind it as the other.
        first_line = str(error).partition("\n")[0]
        if first_line == _NO_MATCH:
            raise CannotOpen("none of the identities opens it") from error
        raise CorruptStream(f"it cannot be decrypted: {first_line}") from error
