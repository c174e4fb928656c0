"""What a restore does with an object that cannot be made: end, or note it and go on."""

from __future__ import annotations

import threading

from holdfast.model.errors import HoldfastError
from holdfast.model.restore import FailedObject

# The kind of what failed where it is no object but the rows of one.
ROWS = "rows"
KEEP_GOING_HINT = "--keep-going restores all but what fails, and lists that with its statements"


class FailedObjects:
    """The objects that could not be made so far; from any thread."""

    def __init__(self, *, keep_going: bool) -> None:
        self.keep_going = keep_going
        self._lock = threading.Lock()
        self._failed: list[FailedObject] = []

    def met(self, failed: FailedObject, error: HoldfastError) -> None:
        """Go on without it; raises `error`, and how to go on, where that is not wanted."""
        if not self.keep_going:
            raise hinted(error)
        with self._lock:
            self._failed.append(failed)

    def take(self) -> tuple[FailedObject, ...]:
        """All of them in the order in which they failed; they are then nobody's."""
        with self._lock:
            taken, self._failed = tuple(self._failed), []
        return taken


def hinted(error: HoldfastError) -> HoldfastError:
    """The same, with the way to restore all the others."""
    if KEEP_GOING_HINT not in error.hint:
        error.hint = f"{error.hint}; {KEEP_GOING_HINT}" if error.hint else KEEP_GOING_HINT
    return error
