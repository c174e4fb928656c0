"""One step of a suite: a command, its log, and the number of its tests."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.fleet import UTF_8

PROJECT = Path(__file__).resolve().parents[2]
LOGS = PROJECT / ".lab" / "logs" / "tests"
CAUSE_CHARACTERS = 300


class Stopped(Exception):
    """The run was stopped: only clean-up steps still run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command; with `junit` its tests are counted from that report, else it counts as one.

    `collect` fetches the report if the command ran elsewhere. An `always` step removes what an
    earlier step made, and runs even after the run was stopped.
    """

    name: str
    argv: Sequence[str]
    junit: Path | None = None
    collect: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    always: bool = False

    @property
    def log(self) -> Path:
        return LOGS / f"{self.name.replace(' ', '-').replace('/', '-')}.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a step: each skip with its reason, each failed test with its cause."""

    name: str
    passed: int
    failed: int
    seconds: float
    log: Path
    skipped: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    def line(self) -> str:
        verdict = "FAIL" if self.failed else "ok  "
        counts = f"{self.passed} passed, {self.failed} failed"
        return f"{verdict} {self.seconds:7.1f} s  {self.name}: {counts}"


class Programs:
    """The running programs of all steps, so that they can be stopped together.

    A program that has not ended `patience_seconds` after SIGTERM is killed: tests of signals may
    have left their runner ignoring ours.
    """

    def __init__(self, *, patience_seconds: float = 20) -> None:
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def stop(self) -> None:
        """Stop all running programs, and start nothing more except clean-up."""
        with self._lock:
            self._stopped = True
            asked = list(self._running)
            for running in asked:
                running.terminate()
        impatient = threading.Timer(self._patience_seconds, _kill, args=[asked])
        impatient.daemon = True
        impatient.start()

    def run(self, step: Step) -> Outcome:
        """Run one step to its end; its output goes to a log."""
        step.log.parent.mkdir(parents=True, exist_ok=True)
        if step.junit:
            step.junit.unlink(missing_ok=True)
        began = time.monotonic()
        with step.log.open("wb") as out:
            status = self._ended(step, out.fileno())
            if step.collect:
                subprocess.run(step.collect, stdout=out, stderr=subprocess.STDOUT, check=False)
        return _outcome(step, status, seconds=time.monotonic() - began)

    def _ended(self, step: Step, out: int) -> int:
        with self._lock:
            if self._stopped and not step.always:
                raise Stopped
            running = subprocess.Popen(
                step.argv,
                cwd=PROJECT,
                env=environment() | dict(step.env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
            self._running.add(running)
        try:
            return running.wait()
        finally:
            with self._lock:
                self._running.discard(running)


def _kill(programs: Iterable[subprocess.Popen[bytes]]) -> None:
    for each in programs:
        if each.poll() is None:
            each.kill()


def environment() -> dict[str, str]:
    """Our environment, with the project's own programs first: molecule and ansible call each other.

    Python may always write bytecode: tests start the same modules hundreds of times.
    """
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return (
        ours
        | UTF_8
        | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
        }
    )


def failed(name: str, why: str) -> Outcome:
    """The outcome of a step that could not be run."""
    log = Step(name=name, argv=()).log
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(why)
    return Outcome(name=name, passed=0, failed=1, seconds=0.0, log=log)


def _outcome(step: Step, status: int, *, seconds: float) -> Outcome:
    passed, failed = (1, 0) if status == 0 else (0, 1)
    skipped: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    if step.junit:
        # A run that broke before it reported anything counts as a failure.
        counted = _counts(step.junit) if step.junit.exists() else (0, (), ())
        passed, broken, skipped = counted
        failed = len(broken)
        if (status != 0 and not failed) or not passed + failed:
            failed += 1
    return Outcome(
        name=step.name,
        passed=passed,
        failed=failed,
        seconds=seconds,
        log=step.log,
        skipped=skipped,
        broken=broken,
    )


def _counts(junit: Path) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """The number of passed tests; the failed and the skipped ones, each with its reason."""
    passed = 0
    broken: list[str] = []
    skipped: list[str] = []
    for case in ElementTree.parse(junit).getroot().iter("testcase"):  # noqa: S314  # a report that our own pytest wrote
        skip = case.find("skipped")
        failure = next((each for each in case if each.tag in ("failure", "error")), None)
        if skip is not None:
            skipped.append(f"{case.get('name')}: {skip.get('message')}")
        elif failure is not None:
            cause = (failure.get("message") or "").partition("\n")[0][:CAUSE_CHARACTERS]
            broken.append(f"{case.get('classname')}::{case.get('name')}: {cause}")
        else:
            passed += 1
    return passed, tuple(broken), tuple(skipped)
