"""One step of a suite: a command with its log, and how many tests it stood for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
LOGS = PROJECT / ".lab" / "logs" / "tests"
TAIL_LINES = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command; with `junit`, its tests are counted from that report, else it counts as one.

    `collect` fetches the report where the command ran elsewhere.
    """

    name: str
    argv: Sequence[str]
    junit: Path | None = None
    collect: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a step came to; `skipped` holds each reason."""

    name: str
    passed: int
    failed: int
    seconds: float
    log: Path
    skipped: tuple[str, ...] = ()

    def line(self) -> str:
        verdict = "FAIL" if self.failed else "ok  "
        counts = f"{self.passed} passed, {self.failed} failed"
        return f"{verdict} {self.seconds:7.1f} s  {self.name}: {counts}"


def run(step: Step) -> Outcome:
    """Run one step to its end; its output goes to a log."""
    log = LOGS / f"{step.name.replace(' ', '-').replace('/', '-')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if step.junit:
        step.junit.unlink(missing_ok=True)
    began = time.monotonic()
    with log.open("wb") as out:
        status = subprocess.run(
            step.argv,
            cwd=PROJECT,
            env=environment() | dict(step.env),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
        if step.collect:
            subprocess.run(step.collect, stdout=out, stderr=subprocess.STDOUT, check=False)
    return _outcome(step, status, seconds=time.monotonic() - began, log=log)


def environment() -> dict[str, str]:
    """Ours, with the project's own programs first: molecule and ansible look for each other."""
    programs = str(Path(sys.executable).parent)
    return os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}


def show(outcome: Outcome) -> None:
    """One line; after a failure the end of its log, and why anything was skipped."""
    say(outcome.line())
    for reason in outcome.skipped:
        say(f"       skipped: {reason}")
    if outcome.failed:
        lines = outcome.log.read_text(errors="replace").splitlines()
        say("\n".join(f"    | {line}" for line in lines[-TAIL_LINES:]))
        say(f"    whole log: {outcome.log}")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _outcome(step: Step, status: int, *, seconds: float, log: Path) -> Outcome:
    passed, failed = (1, 0) if status == 0 else (0, 1)
    skipped: tuple[str, ...] = ()
    if step.junit:
        # A run that broke before it reported anything is a failure of its own.
        counted = _counts(step.junit) if step.junit.exists() else (0, 0, ())
        passed, failed, skipped = counted
        if (status != 0 and not failed) or not passed + failed:
            failed += 1
    return Outcome(
        name=step.name, passed=passed, failed=failed, seconds=seconds, log=log, skipped=skipped
    )


def _counts(junit: Path) -> tuple[int, int, tuple[str, ...]]:
    passed = failed = 0
    skipped: list[str] = []
    for case in ElementTree.parse(junit).getroot().iter("testcase"):  # noqa: S314  # a report that our own pytest wrote
        skip = case.find("skipped")
        if skip is not None:
            skipped.append(f"{case.get('name')}: {skip.get('message')}")
        elif case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        else:
            passed += 1
    return passed, failed, tuple(skipped)
