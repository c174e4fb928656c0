"""Work that is done side by side, where some of it needs other work to be done first."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

Item = TypeVar("Item")
# A cancellation does not notify workers that wait for another one, so they poll for it.
LOOK_SECONDS = 0.2


class Waiting(Generic[Item]):
    """The items left to do; an item is handed out once all that it needs is done.

    Of items that lock the same thing, only one is handed out at a time.
    """

    def __init__(
        self,
        items: Iterable[Item],
        *,
        known_by: Callable[[Item], Hashable],
        needs: Callable[[Item], Iterable[Hashable]],
        locks: Callable[[Item], Iterable[Hashable]] = lambda _: (),
    ) -> None:
        self._items = deque(items)
        self._locks = locks
        self._locked: set[Hashable] = set()
        self._known_by = known_by
        self._needs = needs
        self._done: set[Hashable] = set()
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._items)

    def take(self, aborted: threading.Event) -> Item | None:
        """Wait for the next item whose needs are done; None if no item is left or on abort."""
        with self._changed:
            while self._items and not aborted.is_set():
                for position, item in enumerate(self._items):
                    if self._is_ready(item):
                        del self._items[position]
                        self._locked.update(self._locks(item))
                        return item
                self._changed.wait(LOOK_SECONDS)
        return None

    def _is_ready(self, item: Item) -> bool:
        is_free = self._locked.isdisjoint(self._locks(item))
        return is_free and self._done.issuperset(self._needs(item))

    def done(self, item: Item) -> None:
        with self._changed:
            self._locked.difference_update(self._locks(item))
            self._done.add(self._known_by(item))
            self._changed.notify_all()
