"""Many threads in virtual time: one runs at a time, and time passes only while all of them sleep.

So a night of a thousand hosts takes as long as its requests take, and two runs with the same seed
do the same in the same order.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

STACK_BYTES = 512 << 10
JOINING_SECONDS = 0.05


class VirtualTime:
    """Seconds that pass by `sleep` of the threads that `begin` made, and those threads."""

    def __init__(self) -> None:
        self.now = 0.0
        self.errors: list[BaseException] = []
        self._order = count()
        self._sleepers: list[tuple[float, int, threading.Semaphore]] = []
        self._idle = threading.Semaphore(0)

    def begin(self, work: Callable[[], object], *, at: float) -> None:
        """Do `work` from `at` on, in a thread of its own; its error ends the whole run."""
        turn = threading.Semaphore(0)

        def main() -> None:
            turn.acquire()
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised again by `run`
                self.errors.append(error)
            finally:
                self._idle.release()

        before = threading.stack_size(STACK_BYTES)
        try:
            threading.Thread(target=main, daemon=True).start()
        finally:
            threading.stack_size(before)
        heapq.heappush(self._sleepers, (at, next(self._order), turn))

    def sleep(self, seconds: float) -> None:
        """Let the others go on; only for threads that `begin` made."""
        turn = threading.Semaphore(0)
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), turn))
        self._idle.release()
        turn.acquire()

    def run(self) -> None:
        """Go on until no thread sleeps any more; raises the first error of one."""
        while self._sleepers and not self.errors:
            at, _, turn = heapq.heappop(self._sleepers)
            self.now = max(self.now, at)
            turn.release()
            self._idle.acquire()
        if self.errors:
            raise self.errors[0]

    @contextmanager
    def beating(
        self, act: Callable[[], bool | None], *, pause: Callable[[], float], name: str
    ) -> Iterator[None]:
        """As `runtime.cleanup.periodically`, in this time."""
        del name
        is_over = is_acting = False

        def tick() -> None:
            nonlocal is_acting
            while True:
                self.sleep(pause())
                if is_over:
                    return
                is_acting = True
                ended = act()
                is_acting = False
                if ended:
                    return

        self.begin(tick, at=self.now)
        try:
            yield
        finally:
            is_over = True
            while is_acting:
                self.sleep(JOINING_SECONDS)
