"""Errors of the lab, worded so that a person can act on them."""

from collections.abc import Iterator
from contextlib import contextmanager


class LabError(Exception):
    """The lab could not do what was asked; `hint` says what to do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class CommandFailed(LabError):
    """A program failed; the message is its name and its last lines."""


@contextmanager
def attempting(action: str, name: str, *, hint: str = "") -> Iterator[None]:
    """Add to a program's failure which `action` on which named thing it was part of."""
    try:
        yield
    except CommandFailed as error:
        raise LabError(f"cannot {action} '{name}': {error}", hint=hint or error.hint) from error
