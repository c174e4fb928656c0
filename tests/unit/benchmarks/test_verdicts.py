"""Medians, ratios, targets and changes since an earlier version."""

from __future__ import annotations

import pytest

from benchmarks.results import Cost, Measured, Results
from benchmarks.targets import Measure, Target
from benchmarks.verdicts import changes, verdicts
from tests.support.bench_results import cost, measured, results, workload

FASTER = Target(
    workload="shop",
    phase="backup",
    wording="at most 0.8 of the tools",
    at_most=0.8,
    peers=("quick", "slow"),
)
SMALL = Target(
    workload="shop",
    phase="backup",
    wording="at most 100 MB",
    at_most=100,
    measure=Measure.PEAK_MB,
)
CHEAP = Target(
    workload="shop", phase="backup", wording="at most 80 ms", at_most=80, measure=Measure.CPU_MS
)


def ours(*costs: Cost | float) -> Measured:
    return measured("holdfast", *costs)


def test_a_ratio_is_that_of_the_medians_and_to_the_fastest_peer() -> None:
    contenders = (ours(2, 9, 3), measured("quick", 4, 4, 4), measured("slow", 30))

    (found,) = verdicts(results(workload("shop", "backup", *contenders)), [FASTER])

    assert found.value == 3 / 4
    assert found.peer == "the quick"
    assert found.word == "met"
    assert found.spread == pytest.approx((9 - 2) / 3)


@pytest.mark.parametrize(("seconds", "word"), [(3.2, "met"), (3.21, "missed")])
def test_a_target_is_met_up_to_its_limit(seconds: float, word: str) -> None:
    contenders = (ours(seconds), measured("quick", 4), measured("slow", 30))

    (found,) = verdicts(results(workload("shop", "backup", *contenders)), [FASTER])

    assert found.word == word


def test_the_fastest_of_several_is_unknown_until_all_are_measured() -> None:
    (found,) = verdicts(
        results(workload("shop", "backup", ours(1), measured("slow", 30))), [FASTER]
    )

    assert found.value is None
    assert not found.is_met
    assert found.word == "not measured"


def test_a_workload_that_was_not_asked_for_has_no_verdict() -> None:
    assert verdicts(results(workload("other", "backup", ours(1))), [FASTER]) == []


def test_memory_counts_at_its_highest_and_cpu_in_the_middle() -> None:
    costs = (
        cost(1, peak_mb=90, cpu_seconds=0.07),
        cost(1, peak_mb=101, cpu_seconds=0.079),
        cost(1, peak_mb=80, cpu_seconds=0.2),
    )

    small, cheap = verdicts(results(workload("shop", "backup", ours(*costs))), [SMALL, CHEAP])

    assert (small.value, small.word) == (101, "missed")
    assert (cheap.value, cheap.word) == (79, "met")


def _compared(before: tuple[float, ...], now: tuple[float, ...]) -> list[tuple[float, bool]]:
    peers = (measured("quick", 10, 10, 10), measured("slow", 30))
    found = changes(
        results(workload("shop", "backup", ours(*now), *peers), day=1),
        results(workload("shop", "backup", ours(*before), *peers)),
        [FASTER],
    )
    return [(round(change.factor, 2), change.is_slower) for change in found]


def test_what_became_slower_or_faster_beyond_the_tolerance_is_told() -> None:
    assert _compared((10, 10, 10), (12, 12, 12)) == [(1.2, True)]
    assert _compared((10, 10, 10), (8, 8, 8)) == [(0.8, False)]


def test_what_changed_no_more_than_the_rounds_differ_is_not_told() -> None:
    assert _compared((10, 10, 10), (10.4, 10.4, 10.4)) == []
    assert _compared((9, 10, 11.5), (12, 12, 12)) == []
    assert _compared((10, 10, 10), (10, 12, 14)) == []


def test_a_slower_machine_is_no_change() -> None:
    def run(seconds: float, day: int) -> Results:
        contenders = (ours(seconds), measured("quick", 2 * seconds), measured("slow", 99))
        return results(workload("shop", "backup", *contenders), day=day)

    assert changes(run(20, 1), run(10, 0), [FASTER]) == []
