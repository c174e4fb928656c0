"""How deep a sweep goes: a sample of it, or all the way in `scripts/test full`."""

from __future__ import annotations

import os

# Set by `scripts/test` for everything that it starts; `full` or `sample`.
DEPTH = "HOLDFAST_TEST_DEPTH"


def full() -> bool:
    """Whether the tests go to their full depth."""
    return os.environ.get(DEPTH) == "full"


def deep(whole: int, *, sample: int) -> int:
    """`whole` where the tests run to their full depth, else `sample`."""
    return whole if full() else sample
