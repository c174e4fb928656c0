"""The depth of a sweep: a sample of the cases, or all of them in `scripts/test full`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")

# Set by `scripts/test` for everything that it starts; `full` or `sample`.
DEPTH = "HOLDFAST_TEST_DEPTH"
# The number that chose the servers of this run (tests/runner/turns.py) chooses samples too.
TURN = "HOLDFAST_TEST_TURN"
# This many consecutive turns differ only in their servers.
TURNS_OF_SERVERS = 6
THIRDS = 3


def full() -> bool:
    """Whether the tests go to their full depth."""
    return os.environ.get(DEPTH) == "full"


def deep(whole: int, *, sample: int) -> int:
    """`whole` if the tests run at full depth, else `sample`."""
    return whole if full() else sample


def by_turns(items: Sequence[Item]) -> list[Item]:
    """A third of the items, chosen by the turn; all of them at full depth."""
    if full():
        return list(items)
    turn = int(os.environ.get(TURN, "0"))
    return list(items[(turn // TURNS_OF_SERVERS) % THIRDS :: THIRDS])
