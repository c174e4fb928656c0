"""How deep a sweep goes: a sample of it, or all the way in `scripts/test full`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")

# Set by `scripts/test` for everything that it starts; `full` or `sample`.
DEPTH = "HOLDFAST_TEST_DEPTH"
# The number that chose the servers of this run (tests/runner/turns.py) chooses samples too.
TURN = "HOLDFAST_TEST_TURN"
# So many turns in a row may differ in their servers only.
TURNS_OF_SERVERS = 6
THIRDS = 3


def full() -> bool:
    """Whether the tests go to their full depth."""
    return os.environ.get(DEPTH) == "full"


def deep(whole: int, *, sample: int) -> int:
    """`whole` where the tests run to their full depth, else `sample`."""
    return whole if full() else sample


def by_turns(items: Sequence[Item]) -> list[Item]:
    """Every third of them, others in other turns; all where the tests run to their full depth."""
    if full():
        return list(items)
    turn = int(os.environ.get(TURN, "0"))
    return list(items[(turn // TURNS_OF_SERVERS) % THIRDS :: THIRDS])
