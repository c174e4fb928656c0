"""A bounded number of threads that end together: on the last item, or on the first error."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from holdfast.model.errors import Interrupted, TasksRefused
from holdfast.runtime import events

LOOK_SECONDS = 1.0
# A refusal that comes this often with one slot left is nobody's passing load.
MOST_TRIES = 5

Item = TypeVar("Item")
Result = TypeVar("Result")


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


def nothing() -> None:
    """Work that ends soon by itself needs no cancelling."""


def run_all(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    *,
    workers: int,
    abort: Callable[[], None] = nothing,
    room: AdaptiveLimit | None = None,
) -> list[Result]:
    """`work` on every item, at most `workers` at a time; the results in the order of the items.

    The first error is the one that is raised: no new item is begun, `abort` is called once so
    that work under way ends, and what that work then raises is its consequence, not the cause.
    An interruption of the calling thread counts as an error. No work outlives this call.
    With `room` fewer may work than there are threads, and an item for which the host refused a
    task is tried again with half as many.
    """
    crew = _Crew(items, work, abort, room or AdaptiveLimit(workers))
    threads = [
        threading.Thread(target=crew.serve, name=f"slot-{number}")
        for number in range(1, workers + 1)
    ]
    try:
        _start(threads)
        crew.wait()
    except BaseException as error:  # noqa: BLE001 - raised again by `outcome`, after the work has ended
        crew.fail(error)
    crew.wait_in_any_case()
    for thread in threads:
        if thread.is_alive():
            thread.join()
    return crew.outcome()


def _start(threads: list[threading.Thread]) -> None:
    """Where the host refuses another thread, those that we have do the work."""
    for number, thread in enumerate(threads):
        try:
            thread.start()
        except RuntimeError:
            if number == 0:
                raise
            return


class _Crew(Generic[Item, Result]):
    """What the threads share; each pulls its next item itself, so nothing queues up.

    Waiting goes by what the threads are doing, not by joining them: a signal's error may leave
    `Thread.start` before we know whether the thread runs, and CPython takes a thread for ended
    when an error interrupts its `join`.
    """

    def __init__(
        self,
        items: Iterable[Item],
        work: Callable[[Item], Result],
        abort: Callable[[], None],
        room: AdaptiveLimit,
    ) -> None:
        self._items: Iterator[tuple[int, Item]] = iter(enumerate(items))
        self._work = work
        self._abort = abort
        self._room = room
        self._again: deque[tuple[int, Item]] = deque()
        self._tries: Counter[int] = Counter()
        self._changed = threading.Condition()
        self._no_more = False
        self._working = 0
        self._results: dict[int, Result] = {}
        self._cause: BaseException | None = None

    def serve(self) -> None:
        while (task := self._begin()) is not None:
            position, item = task
            try:
                result = self._work(item)
            except TasksRefused as error:
                self._try_again(position, item, error)
            except BaseException as error:  # noqa: BLE001 - raised again by `outcome` in the caller's thread
                self.fail(error)
                self._end()
            else:
                self._results[position] = result
                self._end()

    def wait(self) -> None:
        with self._changed:
            self._changed.wait_for(self._is_over)

    def _is_over(self) -> bool:
        waiting = self._again and self._cause is None
        return self._no_more and self._working == 0 and not waiting

    def wait_in_any_case(self) -> None:
        """Also while somebody keeps pressing Ctrl-C: work must not be left behind."""
        while True:
            try:
                return self.wait()
            except (KeyboardInterrupt, Interrupted) as error:
                self.fail(error)

    def fail(self, error: BaseException) -> None:
        with self._changed:
            if self._cause is not None:
                return
            self._cause = error
            self._no_more = True
            self._changed.notify_all()
        self._abort()

    def outcome(self) -> list[Result]:
        if isinstance(self._cause, KeyboardInterrupt):
            raise Interrupted("cannot go on: somebody pressed Ctrl-C") from self._cause
        if self._cause is not None:
            raise self._cause
        return [self._results[position] for position in sorted(self._results)]

    def _try_again(self, position: int, item: Item, error: TasksRefused) -> None:
        self._room.halve()
        with self._changed:
            self._tries[position] += 1
            is_last = self._tries[position] >= MOST_TRIES
            if not is_last:
                self._again.append((position, item))
                # Alone there is nobody whose end could make room: give the host a moment.
                self._changed.wait_for(
                    lambda: self._cause is not None, timeout=self._tries[position]
                )
        if is_last:
            self.fail(error)
        self._end()

    def _begin(self) -> tuple[int, Item] | None:
        try:
            # The kernel is asked outside the lock: nobody shall wait for that.
            allowed = self._room.allowed(working=self._working)
            with self._changed:
                self._changed.wait_for(lambda: self._no_more or self._working < allowed)
                task = self._next()
                if task is None:
                    self._no_more = True
                    self._changed.notify_all()
                else:
                    self._working += 1
        except Exception as error:  # noqa: BLE001 - the items may come from afar; raised again by `outcome`
            self.fail(error)
            return None
        return task

    def _next(self) -> tuple[int, Item] | None:
        if self._cause is not None:
            return None
        if self._again:
            return self._again.popleft()
        return None if self._no_more else next(self._items, None)

    def _end(self) -> None:
        with self._changed:
            self._working -= 1
            self._changed.notify_all()
