"""Trying again where that is safe: nothing was half done, and no snapshot is at stake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

from holdfast.model.errors import HoldfastError
from holdfast.runtime import events

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0

Answer = TypeVar("Answer")


class Retries:
    """How often something was tried again in one run."""

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts
        self.count = 0

    def attempts(
        self, *, on: type[HoldfastError], what: str
    ) -> Iterator[AbstractContextManager[object]]:
        """A block for each try, again after an `on`, with waits that double: `for attempt in
        retries.attempts(...): with attempt: ...`; the last error is raised."""
        # Loaded where it is used: a short command has no time to lose.
        import stamina

        for attempt in stamina.retry_context(
            on=on,
            attempts=self._attempts,
            timeout=None,
            wait_initial=FIRST_WAIT_SECONDS,
            wait_max=LONGEST_WAIT_SECONDS,
        ):
            if attempt.num > 1:
                self.count += 1
                events.warning("trying_again", what=what, attempt=attempt.num)
            yield attempt

    def trying(self, act: Callable[[], Answer], *, on: type[HoldfastError], what: str) -> Answer:
        """The same for a function: what it answered in the end."""
        answer: Answer
        for attempt in self.attempts(on=on, what=what):
            with attempt:
                answer = act()
        return answer
