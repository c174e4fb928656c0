"""The figures of the code may not grow: `python -m tests.house.figures`."""

from __future__ import annotations

from tests.house.figures import POSITIONAL, figures, positional
from tests.house.project import PROJECT, functions_in, modules

# Each may only fall: docs/decisions/0036-a-layout-kept-by-its-figures.md.
MOST = {
    "rooms at the top level": 21,
    "rooms at the top level in a circle": 0,
    "imports of our own per 1,000 lines": 36.0,
    "lines of a module, median": 220,
    "lines of a module, p90": 330,
    "lines of a function, median": 6,
    "lines of a function, p90": 18,
}
# `module: function`, and why its caller cannot use names: ten at most.
BY_POSITION: dict[str, str] = {}


def test_what_a_stranger_meets_does_not_grow() -> None:
    found = figures(PROJECT)
    assert {name: found[name] for name, most in MOST.items() if found[name] > most} == {}


def test_nobody_takes_more_by_position_than_a_caller_remembers() -> None:
    found = {
        f"{name}: {function.name}"
        for name, tree in modules().items()
        for function in functions_in(tree)
        if positional(function) > POSITIONAL
    }
    assert found == BY_POSITION.keys(), "name what comes after the third: *, fourth"
    assert len(BY_POSITION) <= 10
