"""What can go wrong in the lab, said so that a person can act on it."""

from collections.abc import Iterator
from contextlib import contextmanager


class LabError(Exception):
    """The lab could not do what was asked; `hint` says what to do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class CommandFailed(LabError):
    """A program ended badly; the message is its name and its last words."""


@contextmanager
def attempting(action: str, name: str, *, hint: str = "") -> Iterator[None]:
    """Say which `action` on which named thing a failed program was meant to serve."""
    try:
        yield
    except CommandFailed as error:
        raise LabError(f"cannot {action} '{name}': {error}", hint=hint or error.hint) from error
