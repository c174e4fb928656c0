"""How many slots may work at this moment: looked at again between items, halved on a refusal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from holdfast.runtime import events

LOOK_SECONDS = 1.0
# A refusal that comes this often with one slot left is nobody's passing load.
MOST_TRIES = 5


class AdaptiveLimit:
    """The slots of one run.

    `look` is given how many slots are at work and how many threads there are for them, and says
    how many could be; it is asked once in `LOOK_SECONDS` at most.
    """

    def __init__(
        self,
        most: int,
        *,
        look: Callable[[int, int], int] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._threads = most
        self._look = look
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._seen = most
        self._seen_at: float | None = None

    @property
    def threads(self) -> int:
        return self._threads

    def allowed(self, *, working: int) -> int:
        """At least one: whoever is alone may always try."""
        with self._lock:
            now = self._monotonic()
            if self._look and (self._seen_at is None or now - self._seen_at >= LOOK_SECONDS):
                self._seen, self._seen_at = self._look(working, self._threads), now
            return max(1, min(self._most, self._seen))

    def halve(self) -> None:
        """The host refused a process or thread: from now on at most half as many at once."""
        with self._lock:
            self._most = max(1, self._most // 2)
            slots = self._most
        events.warning("slots_halved", slots=slots, because="the host refused another task")
