"""The remaining time of a run, from budgets and the speed of the machine."""

from __future__ import annotations

import pytest

from tests.runner.estimate import Ended, Running, left


@pytest.mark.parametrize(
    ("waiting", "lanes", "seconds"),
    [
        ([], 2, 0),
        ([100], 2, 100),
        ([100, 60, 50], 1, 210),
        # The second lane takes the two short ones while the first has the long one.
        ([100, 60, 50], 2, 110),
        ([100, 60, 50], 3, 100),
    ],
)
def test_jobs_that_wait_begin_where_a_lane_is_free(
    waiting: list[float], lanes: int, seconds: float
) -> None:
    assert left(waiting, [], [], lanes=lanes) == seconds


def test_a_machine_of_half_the_speed_takes_twice_as_long() -> None:
    ended = [Ended(budget=50, took=100)]
    assert left([100], [], ended, lanes=1) == 200


def test_a_running_job_tells_the_speed_where_it_tells_how_far_it_is() -> None:
    # Half of 100 s in 100 s: the other half takes as long again.
    assert left([], [Running(budget=100, took=100, done=0.5)], [], lanes=2) == 100


def test_a_job_that_used_up_its_budget_is_not_called_done() -> None:
    remaining = left([], [Running(budget=100, took=500)], [Ended(budget=100, took=100)], lanes=1)
    assert remaining > 0
