"""How fast workers may go: a common rate, and pauses while others need the host or the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from holdfast.model.lazy_dataclass import dataclass
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.kernel import start

LOOK_SECONDS = 5.0
# What may be sent at once after a pause: enough to keep a pipe full, too little to be a burst.
CREDIT_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleLimit:
    """A value that is checked now and then, and the limit above which workers wait.

    `look` returns None if the value is unknown.
    """

    name: str
    most: float
    look: Callable[[], float | None]


class Throttle:
    """Shared by all workers of a run; `spend` blocks the thread that calls it."""

    def __init__(
        self,
        *,
        bytes_per_second: int | None = None,
        limits: Sequence[ThrottleLimit] = (),
        look_seconds: float = LOOK_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = bytes_per_second
        self._limits = limits
        self._look_seconds = look_seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._free_at = monotonic()
        # Keeps a pause from beginning while the run ends: its workers would wait for ever.
        self._turn = threading.Lock()
        self._ended = threading.Event()
        self._clear = threading.Event()
        self._clear.set()
        self._paused_since: float | None = None
        self._paused_seconds = 0.0

    @property
    def is_paused(self) -> bool:
        return not self._clear.is_set()

    @property
    def paused_seconds(self) -> float:
        since = self._paused_since
        return self._paused_seconds + (self._monotonic() - since if since is not None else 0.0)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Check the limits regularly while the block runs."""
        watcher = threading.Thread(target=self._watch, name="pace", daemon=True)
        if self._limits:
            self.look()
            start(watcher)
        with afterwards(self._end_with, watcher):
            yield

    def _end_with(self, watcher: threading.Thread) -> None:
        self.end()
        if self._limits:
            watcher.join()

    def end(self) -> None:
        """Release all waiting workers for good; from any thread."""
        with self._turn:
            self._ended.set()
            self._clear.set()

    def spend(self, size_bytes: int) -> None:
        """Wait until `size_bytes` more may be processed."""
        self._clear.wait()
        if self._rate is None:
            return
        with self._lock:
            now = self._monotonic()
            self._free_at = max(self._free_at, now - CREDIT_SECONDS) + size_bytes / self._rate
            seconds = self._free_at - now
        if seconds > 0:
            self._ended.wait(seconds)

    def look(self) -> None:
        """Check the limits once, and pause or resume the workers."""
        for limit in self._limits:
            value = limit.look()
            if value is not None and value > limit.most:
                self._pause(limit, value)
                return
        self._go_on()

    def _watch(self) -> None:
        while not self._ended.wait(self._look_seconds):
            self.look()

    def _pause(self, limit: ThrottleLimit, value: float) -> None:
        with self._turn:
            if not self._clear.is_set() or self._ended.is_set():
                return
            self._clear.clear()
            self._paused_since = self._monotonic()
        events.warning("backup_paused", because=limit.name, value=round(value, 2), most=limit.most)

    def _go_on(self) -> None:
        if not self._clear.is_set():
            self._paused_seconds = self.paused_seconds
            self._paused_since = None
            self._clear.set()
            events.info("backup_continued", paused_seconds=round(self._paused_seconds, 1))
