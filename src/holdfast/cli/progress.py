"""Progress of the work: a bar on a terminal, an event every few seconds in the journal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.cli.tables import console_on
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.units import counted, size, span
from holdfast.runtime import events
from holdfast.runtime.cleanup import periodically

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

TERMINAL_SECONDS = 0.2
JOURNAL_SECONDS = 10.0
# Between these the bar fills the space that the line leaves.
SHORTEST_BAR, LONGEST_BAR = 10, 40
# A terminal echoes the interrupting keys behind the bar. A line without space for them would wrap,
# and its first half could not be erased.
ECHO = "^C"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a meter shows at one moment; the total is an estimate until the work ends.

    A job with several databases begins once for each; `earlier` sums up those before.
    """

    total_bytes: int
    done_bytes: int
    parts: int
    done_parts: int
    seconds: float
    earlier: Reading | None = None

    @property
    def bytes_per_second(self) -> float:
        return self.done_bytes / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        left_bytes = max(0, self.total_bytes - self.done_bytes)
        return left_bytes / self.bytes_per_second if self.done_bytes else None

    def with_earlier(self) -> Reading:
        """The reading of the whole run, as a bar shows it."""
        before = self.earlier
        return Reading(
            total_bytes=self.total_bytes + (before.done_bytes if before else 0),
            done_bytes=self.done_bytes + (before.done_bytes if before else 0),
            # A cluster names its last parts only when the others are stored.
            parts=max(self.parts, self.done_parts) + (before.done_parts if before else 0),
            done_parts=self.done_parts + (before.done_parts if before else 0),
            seconds=self.seconds + (before.seconds if before else 0.0),
        )


class Meter:
    """Counts for `ports.run.Progress`: workers only add numbers, another thread draws them."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._began = monotonic()
        self._total_bytes = self._done_bytes = self._parts = self._done_parts = 0
        self._earlier: Reading | None = None

    def begin(self, *, total_bytes: int, parts: int) -> None:
        with self._lock:
            if self._parts:
                self._earlier = self._read().with_earlier()
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
            return self._read()

    def _read(self) -> Reading:
        return Reading(
            total_bytes=max(self._total_bytes, self._done_bytes),
            done_bytes=self._done_bytes,
            parts=self._parts,
            done_parts=self._done_parts,
            seconds=self._monotonic() - self._began,
            earlier=self._earlier,
        )


@contextmanager
def watched(meter: Meter, doing: str) -> Iterator[None]:
    """Show `meter` on stderr while the block runs; if the block succeeds, a full bar stays."""
    if sys.stderr.isatty():
        with _drawn(meter, doing):
            yield
    else:
        with _every(JOURNAL_SECONDS, lambda: log_reading(doing, meter.read())):
            yield


def _every(seconds: float, act: Callable[[], None]) -> AbstractContextManager[None]:
    return periodically(act, pause=lambda: seconds, name="progress")


@contextmanager
def _drawn(meter: Meter, doing: str) -> Iterator[None]:
    from rich.live import Live  # for a terminal only: runs of timers never load it

    bar = Bar(meter, doing)
    # A failure or interruption leaves its error and no bar.
    live = Live(
        bar,
        console=console_on(sys.stderr),
        auto_refresh=False,
        redirect_stdout=False,
        transient=True,
    )
    with live:
        with _every(TERMINAL_SECONDS, live.refresh):
            yield
        bar.is_full = True
        live.transient = not meter.read().parts


class Bar:
    """One line as wide as the terminal; facts that do not fit are left out."""

    def __init__(self, meter: Meter, doing: str) -> None:
        self._meter = meter
        self._doing = doing
        self.is_full = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        reading = self._meter.read().with_earlier()
        if not reading.parts:
            # The amount is unknown until the snapshot is taken.
            yield _line(f"{self._doing}  getting ready  {_time(reading.seconds)}")
            return
        total = reading.done_bytes if self.is_full else reading.total_bytes
        facts = self._facts(reading, total)
        width = options.max_width - len(ECHO)
        shown = facts_fitting(facts, width - len(self._doing) - SHORTEST_BAR - 2)
        length = width - len(self._doing) - 2 - sum(len(each) + 2 for each in shown)
        yield Text(f"{self._doing}  ", end="", no_wrap=True)
        if length >= SHORTEST_BAR:
            yield ProgressBar(
                total=total or 1,
                completed=reading.done_bytes if total else 1,
                width=min(length, LONGEST_BAR),
                style="bright_black",
                complete_style="cyan",
                finished_style="green",
            )
        yield _line("".join(f"  {each}" for each in shown))

    def _facts(self, reading: Reading, total: int) -> list[tuple[int, str]]:
        """The facts of the line in order, each with its priority as the line gets shorter."""
        share = reading.done_bytes / total if total else 1.0
        rate = size(round(reading.bytes_per_second))
        if self.is_full:
            amount, when = size(total), f"in {_time(reading.seconds)}"
            parts = counted(reading.done_parts, "part")
        else:
            left = reading.seconds_left
            # Padded to full width, so that the bar keeps its length while the numbers grow.
            rate = f"{rate:>10}"
            amount = f"{size(reading.done_bytes):>10} of {size(total)}"
            when = "" if left is None else f"{_time(left) + ' left':>12}"
            parts = f"{reading.done_parts} of {counted(reading.parts, 'part')}"
        # 100 % only at the end: an estimate that was too low must not look like the end.
        percent = 100 if self.is_full else min(99, int(share * 100))
        facts = [(5, f"{percent:3}%"), (4, amount), (2, f"{rate}/s"), (3, when), (1, parts)]
        return [(stays, text) for stays, text in facts if text]


def facts_fitting(facts: list[tuple[int, str]], room: int) -> list[str]:
    """The facts of highest priority that fit, in their order."""
    kept = list(facts)
    while kept and sum(len(text) + 2 for _, text in kept) > room:
        kept.remove(min(kept))
    return [text for _, text in kept]


def _line(text: str) -> Text:
    from rich.text import Text

    return Text(text, no_wrap=True, overflow="ellipsis")


def _time(seconds: float) -> str:
    return span(timedelta(seconds=seconds))


def log_reading(doing: str, reading: Reading) -> None:
    """Log one event with machine-readable numbers, or that the total is not known yet."""
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
