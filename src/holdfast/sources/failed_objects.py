"""What a restore does with an object that cannot be created: stop, or record it and continue."""

from __future__ import annotations

import threading

from holdfast.model.errors import HoldfastError
from holdfast.model.restore import FailedObject

# The kind of a failure that concerns the rows of an object, not the object.
ROWS = "rows"
KEEP_GOING_HINT = (
    "--keep-going restores everything else, and lists the failed objects with their statements"
)


class FailedObjects:
    """Collects the objects that could not be created; from any thread."""

    def __init__(self, *, keep_going: bool) -> None:
        self.keep_going = keep_going
        self._lock = threading.Lock()
        self._failed: list[FailedObject] = []

    def met(self, failed: FailedObject, error: HoldfastError) -> None:
        """Record the failure; without `keep_going`, raise `error` with the hint how to continue."""
        if not self.keep_going:
            raise hinted(error)
        with self._lock:
            self._failed.append(failed)

    def take(self) -> tuple[FailedObject, ...]:
        """Return all failures in their order, and empty the collection."""
        with self._lock:
            taken, self._failed = tuple(self._failed), []
        return taken


def hinted(error: HoldfastError) -> HoldfastError:
    """`error` itself, with `--keep-going` added to its hint."""
    if KEEP_GOING_HINT not in error.hint:
        error.hint = f"{error.hint}; {KEEP_GOING_HINT}" if error.hint else KEEP_GOING_HINT
    return error
