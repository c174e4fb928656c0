"""Work with an append-only login: objects that it may not delete are left behind.

If an intruder must not be able to destroy a host's backups, that host has no right to delete.
A backup never needs a delete: deletes only tidy up. Prune or repair with a login that may delete
tidies up, too.
"""

from __future__ import annotations

import threading

from holdfast.model.errors import (
    HoldfastError,
    ObjectMissing,
    RepositoryReadOnly,
    RepositoryRefused,
)
from holdfast.ports.repository import ForwardingRepository, Repository
from holdfast.runtime import events

# After so many refusals in a row no delete is tried: one night may leave 100,000 objects behind.
REFUSALS_IN_A_ROW = 10


class Leftovers:
    """Deletes that one store refused in one run; only the first one is logged."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told = False
        self._in_a_row = 0

    @property
    def is_hopeless(self) -> bool:
        return self._in_a_row >= REFUSALS_IN_A_ROW

    def removed(self) -> None:
        with self._lock:
            self._in_a_row = 0

    def refused(self, error: HoldfastError) -> None:
        with self._lock:
            self._in_a_row += 1
            is_news, self._told = not self._told, True
        if is_news:
            events.warning(
                "object_not_deleted",
                problem=error.message,
                hint="run prune or repair with a login that may delete: it removes this object"
                " and any others that stayed",
            )


class AppendOnly(ForwardingRepository):
    """A repository whose deletes succeed even if the store refuses them.

    Not for prune, which must not report space as freed that the store still uses.
    """

    def __init__(self, repository: Repository, leftovers: Leftovers) -> None:
        super().__init__(repository)
        self._leftovers = leftovers

    def delete(self, key: str) -> None:
        """Succeeds even if the store keeps the object: a caller then puts under another key."""
        if self._leftovers.is_hopeless:
            return
        try:
            self._repository.delete(key)
        except RepositoryReadOnly as error:
            # Stores refuse the delete of a missing object, too.
            if self._is_there(key):
                self._leftovers.refused(error)
        else:
            self._leftovers.removed()

    def _is_there(self, key: str) -> bool:
        try:
            self._repository.stat(key)
        except ObjectMissing:
            return False
        except HoldfastError:
            return True
        return True

    def sweep(self, prefix: str) -> int:
        try:
            return self._repository.sweep(prefix)
        except (RepositoryReadOnly, RepositoryRefused) as error:
            self._leftovers.refused(error)
            return 0
