"""The output of a run: a line per step, a line of progress, and the end of failed logs."""

from __future__ import annotations

import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.runner.estimate import Ended, Running, left
from tests.runner.steps import Outcome, Step

TAIL_LINES = 120
TAIL_BYTES = 4096
PERCENT = re.compile(rb"\[ *(\d+)%\]")
# On a terminal the line is overwritten, elsewhere a new one is added.
TERMINAL_SECONDS = 1.0
LOG_SECONDS = 60.0


@dataclass
class Place:
    """Where a job is: waiting, at a step, or ended."""

    budget: float
    began: float | None = None
    ended: float | None = None
    step: Step | None = None
    taken: list[float] = field(default_factory=list)

    def running(self, now: float) -> Running:
        assert self.began is not None
        done = _told(self.step.log) if self.step and self.step.junit else None
        return Running(budget=self.budget, took=now - self.began, done=done)


class Board:
    """Records where every job is, and prints it; safe from several threads."""

    def __init__(self, budgets: Mapping[str, float], *, lanes: int) -> None:
        self._places = {name: Place(budget) for name, budget in budgets.items()}
        self._lanes = lanes
        self._lock = threading.RLock()
        self._shown = False
        self._began = time.monotonic()

    def starts(self, job: str) -> None:
        with self._lock:
            self._places[job].began = time.monotonic()

    def begins(self, job: str, step: Step) -> None:
        with self._lock:
            self._places[job].step = step

    def ends(self, job: str) -> None:
        with self._lock:
            self._places[job].ended = time.monotonic()

    def took(self, job: str) -> float:
        """Seconds from the job's first step to its last."""
        place = self._places[job]
        if place.began is None or place.ended is None:
            return 0.0
        return place.ended - place.began

    def tell(self, outcome: Outcome) -> None:
        """Print the outcome's line, the reasons of skips, and the end of a failed step's log."""
        lines = [outcome.line(), *(f"       skipped: {reason}" for reason in outcome.skipped)]
        if outcome.failed:
            log = outcome.log.read_text(errors="replace").splitlines()
            lines += [f"    | {line}" for line in log[-TAIL_LINES:]]
            lines.append(f"    whole log: {outcome.log}")
        self.say("\n".join(lines))

    def say(self, text: str) -> None:
        with self._lock:
            erase = "\r\x1b[K" if self._shown else ""
            self._shown = False
            sys.stdout.write(f"{erase}{text}\n")
            sys.stdout.flush()

    @contextmanager
    def progress(self) -> Iterator[None]:
        """Print the progress of the run at intervals, until the block ends."""
        over = threading.Event()
        pause = TERMINAL_SECONDS if sys.stdout.isatty() else LOG_SECONDS

        def show() -> None:
            while not over.wait(pause):
                self._show()

        thread = threading.Thread(target=show, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _show(self) -> None:
        line = self.line(time.monotonic())
        with self._lock:
            if sys.stdout.isatty():
                sys.stdout.write(f"\r\x1b[K{line[: _columns() - 1]}")
                sys.stdout.flush()
                self._shown = True
            else:
                self.say(line)

    def line(self, now: float) -> str:
        """The elapsed time, the estimated rest, and the running jobs."""
        with self._lock:
            places = dict(self._places)
            waiting = sorted(
                (place.budget for place in places.values() if place.began is None), reverse=True
            )
            running = {
                name: place.running(now)
                for name, place in places.items()
                if place.began is not None and place.ended is None
            }
            ended = [
                Ended(budget=place.budget, took=place.ended - place.began)
                for place in places.values()
                if place.began is not None and place.ended is not None
            ]
        remaining = left(waiting, list(running.values()), ended, lanes=self._lanes)
        at_work = ", ".join(f"{name} {job.share():.0%}" for name, job in running.items())
        spent = f"{(now - self._began) / 60:.0f} min"
        return f"     {spent}, about {remaining / 60:.0f} min left: {at_work}"


def _columns() -> int:
    return shutil.get_terminal_size().columns


def _told(log: Path) -> float | None:
    """The last share that pytest printed; None if it printed none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            told = PERCENT.findall(file.read())
    except FileNotFoundError:
        return None
    return int(told[-1]) / 100 if told else None
