"""A bounded number of threads that end together: on the last item, or on the first error."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from holdfast.model.errors import Interrupted, TasksRefused
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards, noted_on
from holdfast.runtime.kernel import is_refusal

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


class WorkerPool:
    """At most `workers` threads at work on items, each of which pulls its next one itself.

    The first error is the one that is raised: no new item is begun, `abort` is called once so
    that work under way ends, and what that work then raises is its consequence, not the cause.
    An interruption of the calling thread counts as an error. No work outlives a call.

    Where the host refuses another thread, those that there are do the work. With `limit` fewer may
    work than there are threads. An item for which the host refused a task is tried again with half
    as many at work, `tries` times in all: once where it must not be begun twice.
    """

    def __init__(
        self,
        workers: int,
        *,
        abort: Callable[[], None] = nothing,
        limit: AdaptiveLimit | None = None,
        tries: int | None = None,
    ) -> None:
        self._workers = max(1, workers)
        self._abort = abort
        self._limit = limit
        self._tries = tries

    def map(self, items: Iterable[Item], work: Callable[[Item], Result]) -> list[Result]:
        """`work` on every item; the results in the order of the items."""
        results: dict[int, Result] = {}

        def keep(task: tuple[int, Item]) -> None:
            position, item = task
            results[position] = work(item)

        self.each(enumerate(items), keep)
        return [results[position] for position in sorted(results)]

    def each(self, items: Iterable[Item], work: Callable[[Item], object]) -> None:
        """`work` on every item; nothing is gathered, however many there are."""
        crew = _Crew(
            items,
            work,
            abort=self._abort,
            limit=self._limit or AdaptiveLimit(self._workers),
            tries=MOST_TRIES if self._tries is None else self._tries,
        )
        threads = [
            threading.Thread(target=crew.serve, name=f"slot-{number}")
            for number in range(1, self._workers + 1)
        ]
        try:
            _start(threads)
            crew.wait()
        except BaseException as error:  # noqa: BLE001 - raised again below, after the work has ended
            crew.fail(error)
        crew.wait_in_any_case()
        for thread in threads:
            if thread.is_alive():
                thread.join()
        crew.raise_cause()


def is_started(thread: threading.Thread, *, otherwise: str) -> bool:
    """Start `thread`; where the host refuses that `otherwise` says what becomes of its work."""
    try:
        thread.start()
    except RuntimeError as error:
        if not is_refusal(error):
            raise
        events.warning("thread_refused", thread=thread.name, problem=str(error), then=otherwise)
        return False
    return True


def _start(threads: Sequence[threading.Thread]) -> None:
    """All, or as many as the host gives us; raises `TasksRefused` where that is none."""
    for number, thread in enumerate(threads):
        if not is_started(thread, otherwise=f"{number} workers of {len(threads)} do the work"):
            if number == 0:
                raise TasksRefused(
                    "cannot begin: the kernel refused another process or thread",
                    hint="raise TasksMax= of the service, or give the job fewer processes",
                )
            return


class _Crew(Generic[Item]):
    """What the threads share; each pulls its next item itself, so nothing queues up.

    Waiting goes by what the threads are doing, not by joining them: a signal's error may leave
    `Thread.start` before we know whether the thread runs, and CPython takes a thread for ended
    when an error interrupts its `join`.
    """

    def __init__(
        self,
        items: Iterable[Item],
        work: Callable[[Item], object],
        *,
        abort: Callable[[], None],
        limit: AdaptiveLimit,
        tries: int,
    ) -> None:
        self._items: Iterator[_Task[Item]] = map(_Task, items)
        self._work = work
        self._abort = abort
        self._limit = limit
        self._tries = tries
        self._again: deque[_Task[Item]] = deque()
        self._changed = threading.Condition()
        self._no_more = False
        self._working = 0
        self._cause: BaseException | None = None

    def serve(self) -> None:
        while (task := self._begin()) is not None:
            with afterwards(self._end):
                try:
                    self._work(task.item)
                except TasksRefused as error:
                    self._try_again(task, error)
                except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                    self.fail(error)

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
        # What goes wrong while the others are ended comes second.
        with noted_on(error):
            self._abort()

    def raise_cause(self) -> None:
        if isinstance(self._cause, KeyboardInterrupt):
            raise Interrupted("cannot go on: somebody pressed Ctrl-C") from self._cause
        if self._cause is not None:
            raise self._cause

    def _try_again(self, task: _Task[Item], error: TasksRefused) -> None:
        task.tries += 1
        if task.tries >= self._tries:
            self.fail(error)
            return
        self._limit.halve()
        with self._changed:
            self._again.append(task)
            # Alone there is nobody whose end could make room: give the host a moment.
            self._changed.wait_for(lambda: self._cause is not None, timeout=task.tries)

    def _begin(self) -> _Task[Item] | None:
        try:
            # The kernel is asked outside the lock: nobody shall wait for that.
            allowed = self._limit.allowed(working=self._working)
            with self._changed:
                self._changed.wait_for(lambda: self._no_more or self._working < allowed)
                task = self._next()
                if task is None:
                    self._no_more = True
                    self._changed.notify_all()
                else:
                    self._working += 1
        except Exception as error:  # noqa: BLE001 - the items may come from afar; raised again in the caller
            self.fail(error)
            return None
        return task

    def _next(self) -> _Task[Item] | None:
        if self._cause is not None:
            return None
        if self._again:
            return self._again.popleft()
        return None if self._no_more else next(self._items, None)

    def _end(self) -> None:
        with self._changed:
            self._working -= 1
            self._changed.notify_all()


@dataclass(slots=True)
class _Task(Generic[Item]):
    """One item, and how often the host has refused what it needs."""

    item: Item
    tries: int = 0
