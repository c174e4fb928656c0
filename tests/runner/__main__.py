"""`python -m tests.runner [full] [SUITE...]`: run suites beside each other, print one count."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType

from tests.runner import budgets, turns
from tests.runner.board import Board
from tests.runner.jobs import Job, run_all
from tests.runner.steps import Outcome
from tests.runner.suites import SUITES
from tests.support.depth import DEPTH, TURN, full

# A shallow clone lacks the older release. Boots of `vm` may take longer than all other suites.
SLOW = ("upgrade", "vm")
# Tests wait for servers, timers and disks more than half of their time.
LANES_A_PROCESSOR = 1.5
LANE_BYTES = 2 << 30


def main(argv: Sequence[str]) -> int:
    """Run the requested suites; the last line is a count for machines."""
    arguments = _parsed(argv)
    os.environ[DEPTH] = "full" if "full" in arguments.suites else "sample"
    os.environ[TURN] = str(turns.turn_of_this_run())
    servers = _servers(arguments.servers)
    wanted = [name for name in arguments.suites if name != "full"] or [
        name for name in SUITES if full() or name not in SLOW
    ]
    jobs = [job for name in wanted for job in SUITES[name](servers)]
    lanes = arguments.lanes or _lanes()
    board = Board({job.name: job.seconds for job in jobs}, lanes=lanes)
    board.say(f"== {' '.join(wanted)}, {lanes} at a time; {_told(servers)}")
    began = time.monotonic()
    with board.progress():
        outcomes = run_all(jobs, lanes=lanes, board=board)
    _sum_up(jobs, outcomes, board=board, seconds=time.monotonic() - began)
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/test", description=__doc__)
    parser.add_argument(
        "suites",
        nargs="*",
        metavar="SUITE",
        help=f"{', '.join(SUITES)}; by default all but {' and '.join(SLOW)}, as in continuous "
        "integration. `full` takes all servers and whole sweeps",
    )
    parser.add_argument(
        "--servers",
        type=lambda text: text.split(","),
        metavar="NAME,...",
        help=f"of {', '.join(turns.EVERY.engine)}; by default two that change with the commit",
    )
    parser.add_argument("--lanes", type=int, metavar="N", help="how many jobs at a time")
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.suites if name not in {*SUITES, "full"}]
    if unknown:
        parser.error(f"there is no suite '{unknown[0]}'; there are {', '.join(SUITES)}")
    return arguments


def _servers(named: Sequence[str] | None) -> turns.Servers:
    if named:
        return turns.chosen(named)
    return turns.EVERY if full() else turns.of_turn(turns.turn_of_this_run())


def _told(servers: turns.Servers) -> str:
    if servers == turns.EVERY:
        return "every server"
    return f"servers {' '.join(servers.engine)}, site {' '.join(servers.site)}"


def _lanes() -> int:
    """As many lanes as processors and memory allow."""
    processors = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(round(processors * LANES_A_PROCESSOR), memory // LANE_BYTES))


def _sum_up(
    jobs: Sequence[Job], outcomes: Sequence[Outcome], *, board: Board, seconds: float
) -> None:
    budget: dict[str, float] = {}
    took: dict[str, float] = {}
    for job in jobs:
        budget[job.suite] = budget.get(job.suite, 0) + job.seconds
        took[job.suite] = took.get(job.suite, 0) + board.took(job.name)
    board.say(
        f"== {', '.join(f'{name} {took[name]:.0f} of {budget[name]:.0f} s' for name in took)}"
    )
    for job in jobs:
        if board.took(job.name) > job.seconds:
            board.say(
                f"== {job.name} has outgrown its budget: {board.took(job.name):.0f} s"
                f" of {job.seconds:.0f} s (tests/runner/budgets.py)"
            )
    if seconds > budgets.WHOLE_RUN and not full():
        board.say(f"== the whole run has outgrown its {budgets.WHOLE_RUN // 60} minutes")
    # Repeated at the end, so that the last lines of a log show what to fix.
    for outcome in outcomes:
        for each in outcome.broken or ([outcome.name] if outcome.failed else []):
            board.say(f"== failed: {each}")
    skipped = sum(len(outcome.skipped) for outcome in outcomes)
    told = f", {skipped} skipped (their reasons are above)" if skipped else ""
    board.say(f"== {seconds:.0f} s{told}, logs in .lab/logs/tests")
    passed = sum(outcome.passed for outcome in outcomes)
    failed = sum(outcome.failed for outcome in outcomes)
    # The last line is parsed: it holds these two numbers and nothing else.
    board.say(f"{passed} passed, {failed} failed")


def _stopped(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stopped)
    sys.exit(main(sys.argv[1:]))
