"""`python -m tests.runner [SUITE...]`: run suites, print one count."""

from __future__ import annotations

import argparse
import sys
import time

from tests.runner.steps import Outcome, say
from tests.runner.suites import SUITES

# Without hardware acceleration its boots alone may take longer than everything else together.
SLOW = "vm"


def main(argv: list[str]) -> int:
    """Run what was asked for; the last line is the count that a machine reads."""
    parser = argparse.ArgumentParser(prog="scripts/test", description=__doc__)
    parser.add_argument(
        "suites",
        nargs="*",
        metavar="SUITE",
        help=f"{', '.join(SUITES)}, or full for all of them; by default all but {SLOW}",
    )
    wanted = parser.parse_args(argv).suites or [name for name in SUITES if name != SLOW]
    unknown = [name for name in wanted if name not in {*SUITES, "full"}]
    if unknown:
        parser.error(f"there is no suite '{unknown[0]}'; there are {', '.join(SUITES)}")
    began = time.monotonic()
    outcomes: list[Outcome] = []
    for name in SUITES if "full" in wanted else wanted:
        say(f"== {name}")
        outcomes.extend(SUITES[name]())
    passed = sum(outcome.passed for outcome in outcomes)
    failed = sum(outcome.failed for outcome in outcomes)
    skipped = sum(len(outcome.skipped) for outcome in outcomes)
    told = f", {skipped} skipped (their reasons are above)" if skipped else ""
    say(f"== {time.monotonic() - began:.0f} s{told}, logs in .lab/logs/tests")
    # Whoever reads the last line expects these two numbers and nothing else.
    say(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
