"""Somebody who looks at the clock while a database is read, and ends what takes too long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from holdfast.limits.throttle import Throttle
from holdfast.model.errors import DeadlineExceeded, HoldfastError, Interrupted, LeaseLost
from holdfast.operations.context import JobSpec
from holdfast.ports.run import Hold
from holdfast.runtime.cleanup import Ended, endable, periodically

MOST_SECONDS_BETWEEN_LOOKS = 1.0
# Whatever caught the end of an opening, and went on, is ended again.
SECONDS_BETWEEN_ENDS = 30.0


class Watchdog:
    """Ends the opening of a snapshot and its reads at the job's deadline, the reads when no byte
    has come for too long, and both when the job is no longer ours. The deadline is counted from
    here on."""

    def __init__(self, job: JobSpec, pace: Throttle, hold: Hold) -> None:
        self._job = job
        self._hold = hold
        self._pace = pace
        self._last_byte = time.monotonic()
        self._expired = ""
        self._ends = _after(job.timeout)

    def beat(self) -> None:
        """A byte came."""
        self._last_byte = time.monotonic()

    @contextmanager
    def over(self, abort: Callable[[], None]) -> Iterator[None]:
        """Call `abort` when time is up, and say that this was the cause."""
        self.beat()

        def look() -> bool:
            self._expired = self._lost_or_late() or self._stalled()
            if self._expired:
                abort()
            return bool(self._expired)

        with periodically(look, pause=self._pause, name="watch"):
            try:
                yield
            except HoldfastError as error:
                if self._expired and not isinstance(error, Interrupted):
                    raise self._error() from error
                raise
        if self._expired:
            raise self._error()

    @contextmanager
    def opening(self) -> Iterator[None]:
        """The same for a block that waits for its server in the main thread, where no byte is
        due yet."""
        ended_at = 0.0
        with endable() as end:

            def look() -> None:
                nonlocal ended_at
                self._expired = self._expired or self._lost_or_late()
                if self._expired and time.monotonic() - ended_at >= SECONDS_BETWEEN_ENDS:
                    ended_at = time.monotonic()
                    end()

            with periodically(look, pause=self._pause_before_bytes, name="watch-opening"):
                try:
                    yield
                except Exception as error:
                    of_somebody_else = isinstance(error, Interrupted)
                    if isinstance(error, Ended) or (self._expired and not of_somebody_else):
                        raise self._not_opened(error) from error
                    raise
        if self._expired:
            raise self._not_opened(None)

    def _pause_before_bytes(self) -> float:
        left = MOST_SECONDS_BETWEEN_LOOKS
        if self._ends is not None and not self._expired:
            left = min(left, self._ends - time.monotonic())
        return max(0.01, left)

    def _pause(self) -> float:
        now = time.monotonic()
        limits = [MOST_SECONDS_BETWEEN_LOOKS]
        if self._ends is not None:
            limits.append(self._ends - now)
        if self._job.stall_timeout is not None:
            limits.append(self._last_byte + self._job.stall_timeout.total_seconds() - now)
        return max(0.01, min(limits))

    def _lost_or_late(self) -> str:
        if self._hold.lost:
            return self._hold.lost
        if self._ends is not None and time.monotonic() >= self._ends:
            return f"it took longer than {self._job.timeout}"
        return ""

    def _stalled(self) -> str:
        now = time.monotonic()
        if self._pace.is_paused:
            # We wait because we were told to: that is no stall.
            self.beat()
        stall = self._job.stall_timeout
        if stall is not None and now - self._last_byte >= stall.total_seconds():
            return f"no byte came for {stall}"
        return ""

    def _not_opened(self, error: Exception | None) -> HoldfastError:
        """With what the opening waited for, where its source has said so."""
        if self._hold.lost:
            return self._error()
        doing = error.doing if isinstance(error, Ended) else ""
        return DeadlineExceeded(
            f"cannot back up job '{self._job.name}': {self._expired}, and its snapshot is not taken"
            f" yet{f': {doing}' if doing else ''}",
            hint="look for locks and long waits on the server (holdfast plan names who is in the"
            " way), or raise the job's timeout",
        )

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
