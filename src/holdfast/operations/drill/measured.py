"""What a drill takes: where its time goes, what it read, and the end of one that takes too much.

The repository and the progress of the drill are wrapped. Workers read side by side, so the time
that they wait for the repository is divided by their number.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.model.backup import Manifest, PartKind
from holdfast.model.drill import DrillSeconds
from holdfast.model.errors import DeadlineExceeded, HoldfastError, MemoryShort
from holdfast.model.units import size, span
from holdfast.ports.repository import ForwardingRepository, Repository
from holdfast.runtime import events
from holdfast.runtime.cleanup import periodically

if TYPE_CHECKING:
    from holdfast.ports.run import Progress

LOOK_SECONDS = 0.5
# The last of these to arrive ends the load; the kinds after them build indexes and constraints.
_LOADED = {
    PartKind.ARCHIVE,
    PartKind.DATA,
    PartKind.LARGE_OBJECTS,
    PartKind.BLOBS,
    PartKind.FILE,
    PartKind.FILE_PACK,
    PartKind.WAL,
    PartKind.CLOSING,
}


class MeasuredRepository(ForwardingRepository):
    """Counts the seconds that reading takes, remembers what was read, and stops when told to.

    `require` is called before each chunk, and raises the reason to stop.
    """

    def __init__(self, repository: Repository, *, require: Callable[[], None]) -> None:
        super().__init__(repository)
        self._require = require
        self._lock = threading.Lock()
        self.seconds = 0.0
        self.read: set[str] = set()

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes]]:
        began = time.monotonic()
        with self._repository.open(key) as chunks:
            self._add(time.monotonic() - began)
            yield self._measured(key, chunks)

    def _measured(self, key: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        while True:
            self._require()
            began = time.monotonic()
            chunk = next(chunks, None)
            self._add(time.monotonic() - began)
            if chunk is None:
                break
            yield chunk
        with self._lock:
            self.read.add(key)

    def _add(self, seconds: float) -> None:
        with self._lock:
            self.seconds += seconds


class MeasuredProgress:
    """Obeys `ports.run.Progress`: remembers when the last row of `manifest` had arrived."""

    def __init__(self, progress: Progress, manifest: Manifest) -> None:
        self._progress = progress
        self._loads = {part.name for part in manifest.parts if part.kind in _LOADED}
        self.loaded_at: float | None = None

    def begin(self, *, total_bytes: int, parts: int) -> None:
        self._progress.begin(total_bytes=total_bytes, parts=parts)

    def advance(self, size_bytes: int) -> None:
        self._progress.advance(size_bytes)

    def part_done(self, name: str) -> None:
        if name in self._loads:
            self.loaded_at = time.monotonic()
        self._progress.part_done(name)


def restore_seconds(
    *, began: float, loaded_at: float | None, ended: float, fetching: float, workers: int
) -> DrillSeconds:
    """The seconds of a restore between `began` and `ended`, from what was measured in it."""
    loaded = ended if loaded_at is None else loaded_at
    fetch = min(fetching / max(1, workers), loaded - began)
    return DrillSeconds(
        fetch=round(fetch, 3),
        load=round(max(0.0, loaded - began - fetch), 3),
        indexes=round(max(0.0, ended - loaded), 3),
    )


class DrillWatch:
    """Looks at the time and the memory of a drill; `reason` is why it ended the drill.

    Without `ends`, in seconds of the monotonic clock, the time is not limited; without
    `memory_bytes` the memory is not.
    """

    def __init__(
        self,
        *,
        budget: timedelta,
        ends: float,
        memory_bytes: int,
        memory: Callable[[], int],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budget = budget
        self._ends = ends
        self._memory_bytes = memory_bytes
        self._memory = memory
        self._seconds = seconds
        self.reason: HoldfastError | None = None

    def require(self) -> None:
        """Raise the reason if the drill is to end; for loops that no stopped server ends."""
        if self.reason is not None:
            raise self.reason

    def look(self) -> bool:
        """Whether the drill is to end."""
        self.reason = self.reason or self._found()
        return self.reason is not None

    @contextmanager
    def over(self, abort: Callable[[], None]) -> Iterator[None]:
        """Call `abort` as soon as the block takes too much; what it raises then has this reason."""

        def tick() -> bool:
            if self.look():
                events.error("drill_ended", reason=self.reason and self.reason.message)
                abort()
            return self.reason is not None

        try:
            with periodically(tick, pause=lambda: LOOK_SECONDS, name="drill watch"):
                yield
        except Exception as error:
            if self.reason is None or error is self.reason:
                raise
            raise self.reason from error
        self.require()

    def _found(self) -> HoldfastError | None:
        if self._seconds() >= self._ends:
            return DeadlineExceeded(
                f"cannot finish the drill: it took longer than its budget of {span(self._budget)}",
                hint="raise drill.budget of the job, or --budget",
            )
        used = self._memory() if self._memory_bytes else 0
        if used > self._memory_bytes > 0:
            return MemoryShort(
                f"cannot finish the drill: it uses {size(used)} of memory, and"
                f" {size(self._memory_bytes)} are allowed",
                hint="raise drill.memory_limit_mb, or drill with fewer workers",
            )
        return None
