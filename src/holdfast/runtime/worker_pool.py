"""A bounded number of threads that end together: on the last item, or on the first error."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from holdfast.model.errors import Interrupted, TasksRefused
from holdfast.model.lazy_dataclass import dataclass
from holdfast.runtime import events, garbage
from holdfast.runtime.cleanup import afterwards, noted_on
from holdfast.runtime.kernel import start

LOOK_SECONDS = 1.0
# How long a signal may wait that another thread was given.
SIGNAL_SECONDS = 0.5
# If a single slot is refused this often, the cause is not a passing load.
MOST_TRIES = 5

Item = TypeVar("Item")
Result = TypeVar("Result")


class AdaptiveLimit:
    """How many slots of one run may work at the same time.

    `look` gets the number of working slots and the number of threads, and returns how many slots
    may work. It is called at most once in `LOOK_SECONDS`.
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
        """The number of slots that may work now; at least one, so that a lone worker can try."""
        with self._lock:
            now = self._monotonic()
            if self._look and (self._seen_at is None or now - self._seen_at >= LOOK_SECONDS):
                self._seen, self._seen_at = self._look(working, self._threads), now
            return max(1, min(self._most, self._seen))

    def halve(self) -> None:
        """Halve the limit for the rest of the run, because the host refused a process or thread."""
        with self._lock:
            self._most = max(1, self._most // 2)
            slots = self._most
        events.warning("workers_halved", slots=slots, because="the host refused another task")


def nothing() -> None:
    """The default `abort`, for short work that needs no cancelling."""


class WorkerPool:
    """At most `workers` threads that work on items; each takes its next item itself.

    The first error is raised: no new item is begun, and `abort` is called once, to end the work in
    progress. Errors that follow from this are dropped. An interruption of the calling thread counts
    as an error. No work outlives a call.

    If the host refuses another thread, the existing ones do the work. `limit` may allow fewer
    working threads than there are. An item for which the host refused a task is tried again with
    half as many at work, `tries` times in all. Use one try for work that must not be begun twice.
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
        """Call `work` on every item; the results in the order of the items."""
        results: dict[int, Result] = {}

        def keep(task: tuple[int, Item]) -> None:
            position, item = task
            results[position] = work(item)

        self.each(enumerate(items), keep)
        return [results[position] for position in sorted(results)]

    def each(self, items: Iterable[Item], work: Callable[[Item], object]) -> None:
        """Call `work` on every item and drop the results; items are taken one by one."""
        garbage.look_as_usual()
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
        failed: BaseException | None = None
        try:
            _start(threads, crew.has_item_for)
            crew.wait()
        except BaseException as error:  # noqa: BLE001 - raised again below, after the work has ended
            failed = error
        crew.wait_in_any_case(failed)
        for thread in threads:
            if thread.is_alive():
                thread.join()
        crew.raise_cause()


def is_started(thread: threading.Thread, *, otherwise: str) -> bool:
    """Start `thread`; False if the host refuses it. `otherwise` says what happens to its work."""
    try:
        start(thread)
    except TasksRefused as error:
        events.warning("thread_refused", thread=thread.name, problem=error.message, then=otherwise)
        return False
    return True


def _start(threads: Sequence[threading.Thread], has_item_for: Callable[[int], bool]) -> None:
    """Start each thread once there is an item for it, or as many as the host allows.

    Raises `TasksRefused` if it allows none.
    """
    for number, thread in enumerate(threads):
        if not has_item_for(number):
            return
        if not is_started(thread, otherwise=f"{number} of {len(threads)} workers do the work"):
            if number == 0:
                raise TasksRefused(
                    "cannot start: the kernel refused another process or thread",
                    hint="raise TasksMax= of the service, or give the job fewer processes",
                )
            return


class _Crew(Generic[Item]):
    """The state that the threads share; each takes its next item itself, so nothing queues up.

    An item may come from far away. It is taken outside the lock of this state, by one thread at a
    time, so that others can end their work, and a signal can end all of it, in the meantime.

    Waiting depends on this state, not on joining threads. An error from a signal handler may leave
    `Thread.start` before we know whether the thread runs, and CPython takes a thread for ended if
    an error interrupts its `join`.
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
        self._taking = threading.Lock()
        self._no_more = False
        # Threads with an item, and those that are about to take one.
        self._working = 0
        self._with_item = 0
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
        """Wait for all work.

        The kernel may hand a signal to any thread, above all after a stop (SIGSTOP). Only this
        one runs the handler, and its wait for a lock does not end by itself: so it looks again.
        """
        with self._changed:
            while not self._changed.wait_for(self._is_over, timeout=SIGNAL_SECONDS):
                pass

    def has_item_for(self, started: int) -> bool:
        """Wait until all `started` threads have an item; False if no other item is left."""
        with self._changed:
            while not self._changed.wait_for(
                lambda: self._no_more or self._with_item >= started, timeout=SIGNAL_SECONDS
            ):
                pass
            return not self._no_more

    def _is_over(self) -> bool:
        waiting = self._again and self._cause is None
        return self._no_more and self._working == 0 and not waiting

    def wait_in_any_case(self, failed: BaseException | None) -> None:
        """Like `wait`, also if somebody keeps pressing Ctrl-C: no work may be left behind.

        `failed` is the error that ends the work, if there is one.
        """
        while True:
            try:
                if failed is not None:
                    self.fail(failed)
                return self.wait()
            except (KeyboardInterrupt, Interrupted) as error:
                failed = error

    def fail(self, error: BaseException) -> None:
        with self._changed:
            if self._cause is not None:
                return
            self._cause = error
            self._no_more = True
            self._changed.notify_all()
        # An error of `abort` itself becomes a note on the first error.
        with noted_on(error):
            self._abort()

    def raise_cause(self) -> None:
        if isinstance(self._cause, KeyboardInterrupt):
            raise Interrupted("cannot continue: interrupted by Ctrl-C") from self._cause
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
            # For a lone worker no other one will end and free tasks: give the host a moment.
            self._changed.wait_for(lambda: self._cause is not None, timeout=task.tries)

    def _begin(self) -> _Task[Item] | None:
        try:
            # The limit is read outside the lock, so that no thread waits for the kernel.
            allowed = self._limit.allowed(working=self._working)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self.fail(error)
            return None
        with self._changed:
            self._changed.wait_for(lambda: self._no_more or self._working < allowed)
            if self._cause is not None or (self._no_more and not self._again):
                return None
            self._working += 1
            if self._again:
                self._with_item += 1
                return self._again.popleft()
        return self._taken()

    def _taken(self) -> _Task[Item] | None:
        """The next item; None if there is none, or if the work has failed in the meantime."""
        task: _Task[Item] | None = None
        try:
            with self._taking:
                if not self._no_more:
                    task = next(self._items, None)
        except BaseException as error:  # noqa: BLE001 - the items may come from afar; raised again in the caller
            self.fail(error)
        with self._changed:
            self._no_more = self._no_more or task is None
            if task is None or self._cause is not None:
                self._working -= 1
                task = None
            else:
                self._with_item += 1
            self._changed.notify_all()
        return task

    def _end(self) -> None:
        with self._changed:
            self._working -= 1
            self._with_item -= 1
            self._changed.notify_all()


@dataclass(slots=True)
class _Task(Generic[Item]):
    """One item, and how often the host has refused a task for it."""

    item: Item
    tries: int = 0
