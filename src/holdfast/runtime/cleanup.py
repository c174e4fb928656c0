"""Clean-up that never replaces a cause: what went wrong first is what is raised.

`finally`, `closing` and callbacks of an `ExitStack` let an error of theirs take the place of the
one that they clean up after, and nobody sees that any more. Here theirs becomes a note on it, and
is raised only where there is no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from holdfast.model.errors import HoldfastError, Interrupted


class Afterwards:
    """Calls something when its block is left; made by `afterwards` and `on_failure`."""

    __slots__ = ("_always", "_arguments", "_step")

    def __init__(
        self, step: Callable[..., object], arguments: tuple[Any, ...], *, always: bool
    ) -> None:
        self._step = step
        self._arguments = arguments
        self._always = always

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        cause: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if cause is None and not self._always:
            return
        try:
            self._step(*self._arguments)
        except Exception as fault:
            # An interruption is no fault of the clean-up, and comes only once. A generator that is
            # closed early has no cause to tell.
            if cause is None or isinstance(fault, Interrupted) or isinstance(cause, GeneratorExit):
                raise
            add_note(cause, fault)


def afterwards(step: Callable[..., object], *arguments: object) -> Afterwards:
    """`with afterwards(os.close, descriptor):` calls it after the block, whatever came of that."""
    return Afterwards(step, arguments, always=True)


def on_failure(step: Callable[..., object], *arguments: object) -> Afterwards:
    """As `afterwards`, but only where the block raised something."""
    return Afterwards(step, arguments, always=False)


@contextmanager
def noted_on(cause: BaseException) -> Iterator[None]:
    """For clean-up in an `except` block: what goes wrong in it becomes a note on `cause`."""
    try:
        yield
    except Interrupted:
        raise
    except Exception as fault:  # noqa: BLE001 - whatever it is, it comes second
        add_note(cause, fault)


def add_note(cause: BaseException, fault: BaseException) -> None:
    """Have `cause` tell of `fault` as well, unless that is the same trouble once more."""
    if isinstance(fault, HoldfastError) and type(fault) is type(cause):
        return
    said = str(fault) or type(fault).__name__
    note = f"cleaning up after it failed as well: {said}"
    if note not in getattr(cause, "__notes__", ()):
        cause.add_note(note)


def notes_of(error: BaseException) -> list[str]:
    """What is noted on `error`, and on whatever it was raised from."""
    notes: list[str] = []
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        notes += getattr(each, "__notes__", ())
        each = each.__cause__
    return notes
