"""How far the work is: a bar on a terminal, an event every few seconds in the journal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from holdfast.runtime import events
from holdfast.runtime.cleanup import periodically

TERMINAL_SECONDS = 0.2
JOURNAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a meter shows at one moment; the total is an estimate until the work ends."""

    total_bytes: int
    done_bytes: int
    parts: int
    done_parts: int
    seconds: float

    @property
    def bytes_per_second(self) -> float:
        return self.done_bytes / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        left_bytes = max(0, self.total_bytes - self.done_bytes)
        return left_bytes / self.bytes_per_second if self.done_bytes else None


class Meter:
    """Counts for `ports.progress.Progress`: workers only add numbers, somebody else draws them."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._began = monotonic()
        self._total_bytes = self._done_bytes = self._parts = self._done_parts = 0

    def begin(self, *, total_bytes: int, parts: int) -> None:
        with self._lock:
            self._began = self._monotonic()
            self._total_bytes, self._parts = total_bytes, parts
            self._done_bytes = self._done_parts = 0

    def advance(self, size_bytes: int) -> None:
        with self._lock:
            self._done_bytes += size_bytes

    def part_done(self, name: str) -> None:
        with self._lock:
            self._done_parts += 1
        events.debug("part_done", part=name)

    def read(self) -> Reading:
        with self._lock:
            return Reading(
                total_bytes=max(self._total_bytes, self._done_bytes),
                done_bytes=self._done_bytes,
                parts=self._parts,
                done_parts=self._done_parts,
                seconds=self._monotonic() - self._began,
            )


@contextmanager
def metered(doing: str) -> Iterator[Meter]:
    """A meter that is shown on stderr while the block runs."""
    meter = Meter()
    if sys.stderr.isatty():
        with _bar(doing) as draw, _every(TERMINAL_SECONDS, lambda: draw(meter.read())):
            yield meter
    else:
        with _every(JOURNAL_SECONDS, lambda: log_reading(doing, meter.read())):
            yield meter


def _every(seconds: float, act: Callable[[], None]) -> AbstractContextManager[None]:
    return periodically(act, pause=lambda: seconds, name="progress")


@contextmanager
def _bar(doing: str) -> Iterator[Callable[[Reading], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[parts]}"),
    )
    console = Console(stderr=True, markup=False)
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as progress:
        task = progress.add_task(doing, total=None, parts="")

        def draw(reading: Reading) -> None:
            progress.update(
                task,
                total=reading.total_bytes or None,
                completed=reading.done_bytes,
                parts=_parts(reading),
                refresh=True,
            )

        yield draw


def _parts(reading: Reading) -> str:
    """Nobody knows how many there are before the snapshot is taken."""
    if not reading.parts:
        return "getting ready"
    return f"{reading.done_parts}/{reading.parts} parts"


def log_reading(doing: str, reading: Reading) -> None:
    """One event for the journal, with numbers that a machine can add up, once there are any."""
    if not reading.parts:
        events.info("getting_ready", doing=doing, seconds=round(reading.seconds))
        return
    left = reading.seconds_left
    events.info(
        "progress",
        doing=doing,
        done_bytes=reading.done_bytes,
        total_bytes=reading.total_bytes,
        done_parts=reading.done_parts,
        parts=reading.parts,
        bytes_per_second=round(reading.bytes_per_second),
        seconds_left=None if left is None else round(left),
    )
