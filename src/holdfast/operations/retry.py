"""Trying again where that is safe: nothing was half done, and no snapshot is at stake."""

from __future__ import annotations

from collections.abc import Callable
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

    def trying(self, act: Callable[[], Answer], *, on: type[HoldfastError], what: str) -> Answer:
        """`act`, again after an `on`, with waits that double; the last error is raised."""
        # Loaded where it is used: a short command has no time to lose.
        import stamina

        answers: list[Answer] = []
        for attempt in stamina.retry_context(
            on=on,
            attempts=self._attempts,
            timeout=None,
            wait_initial=FIRST_WAIT_SECONDS,
            wait_max=LONGEST_WAIT_SECONDS,
        ):
            with attempt:
                if attempt.num > 1:
                    self.count += 1
                    events.warning("trying_again", what=what, attempt=attempt.num)
                answers.append(act())
        return answers[-1]
