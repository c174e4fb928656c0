"""Going on where a login may add objects and not remove any: what it cannot remove it leaves.

A host whose backups shall outlive whoever breaks into it has no right to delete. Nothing that a
backup needs is a delete: they only tidy up, and whoever prunes or repairs from elsewhere, with
a login that may, does that too.
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

# A store that refuses so many in a row refuses all: a night's leftovers may be 100,000 objects.
REFUSALS_IN_A_ROW = 10


class Leftovers:
    """What one run was not allowed to remove from one store: told once, however often it is."""

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
                "left_behind",
                problem=error.message,
                hint="prune or repair with a login that may delete removes it, and all that is"
                " like it",
            )


class AppendOnly(ForwardingRepository):
    """For who adds objects, and tidies up only where the store lets him.

    Not for whoever is to free room: that must not seem to have been done.
    """

    def __init__(self, repository: Repository, leftovers: Leftovers) -> None:
        super().__init__(repository)
        self._leftovers = leftovers

    def delete(self, key: str) -> None:
        """Also done where the store keeps it; whoever needs the name puts under another one."""
        if self._leftovers.is_hopeless:
            return
        try:
            self._repository.delete(key)
        except RepositoryReadOnly as error:
            # Stores that may not delete say so of what is not there as well.
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
