"""Run a command in this unit and report what it did to the unit's tasks, as JSON.

`in_the_unit.py REPORT COMMAND...`; the unit ends as the command did. One thread only: every task
that is counted beside this one is the command's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

LOOK_SECONDS = 0.002
LINGER_SECONDS = 10.0
SHOWN = 2000
PIDS_V1 = Path("/sys/fs/cgroup/pids")
UNIFIED = Path("/sys/fs/cgroup")


def main(report: str, *command: str) -> int:
    folder = own_group()
    baseline = number(folder / "pids.current")
    refused = refusals(folder)
    log = Path(report).with_suffix(".log")
    peak = baseline
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as child:
        while child.poll() is None:
            peak = max(peak, number(folder / "pids.current"))
            time.sleep(LOOK_SECONDS)
    after = left_over(folder, baseline)
    refused = refusals(folder) - refused
    limit = number(folder / "pids.max")
    text = log.read_text(errors="replace")
    found = {
        "status": child.returncode,
        "baseline": baseline,
        "limit": limit,
        # The kernel refuses a task only at the limit, however short that moment was.
        "peak": limit if refused else peak,
        "after": after,
        "refused": refused,
        "forks_refused": sum("fork" in line.lower() for line in text.splitlines()),
        "output": shown(text),
    }
    Path(report).write_text(json.dumps(found))
    return child.returncode


def own_group() -> Path:
    """Where the kernel counts our tasks: cgroup v1 and hybrid, or v2."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    for _, controllers, path in lines:
        if "pids" in controllers.split(","):
            return PIDS_V1 / path.lstrip("/")
    return UNIFIED / next(path for _, names, path in lines if not names).lstrip("/")


def shown(text: str) -> str:
    """Its beginning and its end."""
    return text if len(text) <= 2 * SHOWN else f"{text[:SHOWN]} ... {text[-SHOWN:]}"


def number(file: Path) -> int:
    return int(file.read_text())


def refusals(folder: Path) -> int:
    lines = [line.split() for line in (folder / "pids.events").read_text().splitlines()]
    return next(int(count) for name, count in lines if name == "max")


def left_over(folder: Path, baseline: int) -> int:
    """Tasks that stay, after a wait for those that are about to end."""
    ends = time.monotonic() + LINGER_SECONDS
    while number(folder / "pids.current") > baseline and time.monotonic() < ends:
        time.sleep(LOOK_SECONDS)
    return number(folder / "pids.current")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
