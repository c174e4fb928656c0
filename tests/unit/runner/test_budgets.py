"""One budget for each job, and all of them fit into a run of continuous integration."""

from __future__ import annotations

import pytest

from tests.runner import budgets, turns
from tests.runner.__main__ import SLOW
from tests.runner.estimate import left
from tests.runner.jobs import Job
from tests.runner.suites import SUITES

# As many jobs at a time as `.ci/run` has on its two processors.
LANES = 3


def jobs_of(servers: turns.Servers) -> list[Job]:
    return [job for name, suite in SUITES.items() if name not in SLOW for job in suite(servers)]


@pytest.mark.parametrize("turn", range(6))
def test_what_continuous_integration_runs_has_room_in_its_budget(turn: int) -> None:
    jobs = jobs_of(turns.of_turn(turn))
    longest_first = sorted((job.seconds for job in jobs), reverse=True)
    assert left(longest_first, [], [], lanes=LANES) <= budgets.WHOLE_RUN


def test_every_job_has_a_name_of_its_own() -> None:
    names = [
        job.name
        for job in (
            *jobs_of(turns.EVERY),
            *(job for name in SLOW for job in SUITES[name](turns.EVERY)),
        )
    ]
    assert len(names) == len(set(names))


def test_a_depth_without_a_budget_of_its_own_has_that_of_the_sample() -> None:
    assert budgets.seconds("lint", full=True) == budgets.seconds("lint", full=False)
    assert budgets.seconds("unit", full=True) > budgets.seconds("unit", full=False)
