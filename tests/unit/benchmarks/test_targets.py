"""Every target names a workload, a phase and contenders that a usual run measures."""

from __future__ import annotations

import pytest

from benchmarks import choice
from benchmarks.contenders import Phase, Sizes
from benchmarks.targets import TARGETS, Measure, Target

USUAL = {
    (workload.key, phase.name): phase
    for dataset in choice.usual(Sizes())
    for workload in dataset.workloads
    for phase in workload.phases
}


def keys(phase: Phase) -> set[str]:
    return {each.key for each in phase.contenders}


@pytest.mark.parametrize("target", TARGETS, ids=lambda each: f"{each.workload} {each.wording}")
def test_a_target_can_be_measured(target: Target) -> None:
    phase = USUAL[target.workload, target.phase]

    assert {target.contender, *target.peers} <= keys(phase)
    assert bool(target.peers) is (target.measure is Measure.RATIO)


def test_each_workload_of_a_usual_run_has_a_target_of_speed_and_one_of_memory() -> None:
    workloads = {workload for workload, _ in USUAL}
    memory = {each.workload for each in TARGETS if each.measure is Measure.PEAK_MB}
    speed = {each.workload for each in TARGETS if each.measure is not Measure.PEAK_MB}

    assert speed == workloads
    assert memory == workloads - {"start"}


def test_contenders_of_a_phase_have_keys_of_their_own() -> None:
    for phase in USUAL.values():
        assert len(keys(phase)) == len(phase.contenders)


def test_ours_comes_first() -> None:
    assert [where for where, phase in USUAL.items() if phase.contenders[0].once] == []
    assert {
        phase.contenders[0].key for (workload, _), phase in USUAL.items() if workload != "start"
    } == {"holdfast"}
