"""Repeat operations where that is safe: none is left half done, and no snapshot is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypeVar

from holdfast.runtime import events, retries

if TYPE_CHECKING:
    from holdfast.model.errors import HoldfastError

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0

Answer = TypeVar("Answer")


class Retries:
    """Repeats failed operations of one run; `count` is the number of repetitions."""

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts
        self.count = 0

    def attempts(
        self, *, on: type[HoldfastError], what: str
    ) -> Iterator[AbstractContextManager[object]]:
        """A context manager for each try; after an error of type `on` the next one follows.

        Use it as `for attempt in retries.attempts(...): with attempt: ...`. The waits double, from
        one second to a minute. The last error is raised.
        """
        for attempt in retries.attempts(
            on=on,
            most=self._attempts,
            first_wait_seconds=FIRST_WAIT_SECONDS,
            longest_wait_seconds=LONGEST_WAIT_SECONDS,
        ):
            if attempt.num > 1:
                self.count += 1
                events.warning("retry_started", what=what, attempt=attempt.num)
            yield attempt

    def trying(self, act: Callable[[], Answer], *, on: type[HoldfastError], what: str) -> Answer:
        """Call `act` with the tries of `attempts`; returns its result."""
        for attempt in self.attempts(on=on, what=what):
            with attempt:
                return act()
        raise AssertionError("the last attempt returns or raises")
