"""Somebody who looks at the clock while a database is read, and ends what takes too long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from holdfast.errors import DeadlineExceeded, HoldfastError, Interrupted, LeaseLost
from holdfast.operations.plugs import JobSpec
from holdfast.proving import Hold
from holdfast.scheduling.pace import Pace
from holdfast.ticking import ticking

MOST_SECONDS_BETWEEN_LOOKS = 1.0


class Watch:
    """Ends the reads at the job's deadline, when no byte has come for too long, or when the job
    is no longer ours."""

    def __init__(self, job: JobSpec, pace: Pace, hold: Hold) -> None:
        self._job = job
        self._hold = hold
        self._pace = pace
        self._last_byte = time.monotonic()
        self._expired = ""

    def beat(self) -> None:
        """A byte came."""
        self._last_byte = time.monotonic()

    @contextmanager
    def over(self, abort: Callable[[], None]) -> Iterator[None]:
        """Call `abort` when time is up, and say that this was the cause."""
        ends = _after(self._job.timeout)
        self.beat()

        def look() -> bool:
            self._expired = self._too_long(ends)
            if self._expired:
                abort()
            return bool(self._expired)

        with ticking(look, pause=lambda: self._pause(ends), name="watch"):
            try:
                yield
            except HoldfastError as error:
                if self._expired and not isinstance(error, Interrupted):
                    raise self._error() from error
                raise
        if self._expired:
            raise self._error()

    def _pause(self, ends: float | None) -> float:
        now = time.monotonic()
        limits = [MOST_SECONDS_BETWEEN_LOOKS]
        if ends is not None:
            limits.append(ends - now)
        if self._job.stall_timeout is not None:
            limits.append(self._last_byte + self._job.stall_timeout.total_seconds() - now)
        return max(0.01, min(limits))

    def _too_long(self, ends: float | None) -> str:
        now = time.monotonic()
        if self._hold.lost:
            return self._hold.lost
        if self._pace.is_paused:
            # We wait because we were told to: that is no stall.
            self.beat()
        if ends is not None and now >= ends:
            return f"it took longer than {self._job.timeout}"
        stall = self._job.stall_timeout
        if stall is not None and now - self._last_byte >= stall.total_seconds():
            return f"no byte came for {stall}"
        return ""

    def _error(self) -> HoldfastError:
        if self._hold.lost:
            return LeaseLost(
                f"cannot back up job '{self._job.name}': {self._expired}",
                hint="another host may have taken the job over; its run counts, or the next one",
            )
        stalled = self._expired.startswith("no byte")
        return DeadlineExceeded(
            f"cannot back up job '{self._job.name}': {self._expired}",
            hint="look for locks and long waits on the server, or raise the job's stall_timeout"
            if stalled
            else "raise the job's timeout, or give it more processes",
        )


def _after(span: timedelta | None) -> float | None:
    return None if span is None else time.monotonic() + span.total_seconds()
