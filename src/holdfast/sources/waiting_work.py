"""Work that is done side by side, where some of it needs other work to be done first."""

from __future__ import annotations

import threading
from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

from holdfast.model.errors import HoldfastError

Item = TypeVar("Item")
# A cancellation does not notify workers that wait for another one, so they poll for it.
LOOK_SECONDS = 0.2


class Waiting(Generic[Item]):
    """The items left to do; an item is handed out once all that it needs is done.

    Of items that lock the same thing, only one is handed out at a time. A worker that takes an item
    calls `done`, or all work ends. Thousands of items may need the same thousands of others, so
    those with equal needs wait together.
    """

    def __init__(
        self,
        items: Iterable[Item],
        *,
        known_by: Callable[[Item], Hashable],
        needs: Callable[[Item], Iterable[Hashable]],
        locks: Callable[[Item], Iterable[Hashable]] = lambda _: (),
    ) -> None:
        self._items = list(items)
        self._known_by = known_by
        self._locks = locks
        self._locked: set[Hashable] = set()
        self._left = len(self._items)
        self._under_way = 0
        self._changed = threading.Condition()
        alike: defaultdict[frozenset[Hashable], list[int]] = defaultdict(list)
        for position, item in enumerate(self._items):
            alike[frozenset(needs(item))].append(position)
        self._ready = alike.pop(frozenset(), [])
        self._waiting_for: defaultdict[Hashable, list[_Alike]] = defaultdict(list)
        for needed, positions in alike.items():
            together = _Alike(positions, missing=len(needed))
            for key in needed:
                self._waiting_for[key].append(together)

    def __len__(self) -> int:
        return self._left

    def take(self, aborted: threading.Event) -> Item | None:
        """Wait for the next item whose needs are done; None if no item is left or on abort.

        Raises `HoldfastError` where no work is left that the items could wait for.
        """
        with self._changed:
            while self._left and not aborted.is_set():
                if (item := self._next()) is not None:
                    return item
                if not self._under_way:
                    raise HoldfastError(
                        f"cannot continue: internal error: {self._left} steps wait for each other"
                    )
                self._changed.wait(LOOK_SECONDS)
        return None

    def each(self, aborted: threading.Event) -> Iterator[Item]:
        """All items that one worker takes; each is done when the worker asks for the next."""
        while (item := self.take(aborted)) is not None:
            yield item
            self.done(item)

    def _next(self) -> Item | None:
        """The first item that may begin now."""
        for place, position in enumerate(self._ready):
            item = self._items[position]
            if self._locked.isdisjoint(self._locks(item)):
                del self._ready[place]
                self._left -= 1
                self._under_way += 1
                self._locked.update(self._locks(item))
                return item
        return None

    def done(self, item: Item) -> None:
        with self._changed:
            self._under_way -= 1
            self._locked.difference_update(self._locks(item))
            for together in self._waiting_for.pop(self._known_by(item), ()):
                together.missing -= 1
                if not together.missing:
                    for position in together.positions:
                        insort(self._ready, position)
            self._changed.notify_all()


class _Alike:
    """Items that need the same, and how much of that is not done yet."""

    def __init__(self, positions: list[int], *, missing: int) -> None:
        self.positions = positions
        self.missing = missing
