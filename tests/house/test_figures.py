"""What a stranger meets stays as it is, or becomes less: `python -m tests.house.figures`."""

from __future__ import annotations

from tests.house.figures import figures
from tests.house.project import PROJECT

# Each may only fall.
MOST = {
    "rooms at the top level": 21,
    "rooms at the top level in a circle": 0,
    "imports of our own per 1,000 lines": 36,
    "lines of a module, median": 240,
    "lines of a module, p90": 330,
    "lines of a function, median": 6,
    "lines of a function, p90": 18,
}


def test_what_a_stranger_meets_does_not_grow() -> None:
    found = figures(PROJECT)
    assert {name: found[name] for name, most in MOST.items() if found[name] > most} == {}
