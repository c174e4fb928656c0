"""How often each contender takes part, in which order, and with how much data."""

from __future__ import annotations

import pytest

from benchmarks import choice
from benchmarks.contenders import HERE, OUT, WHOLE, Contender, Phase, Sizes
from benchmarks.rounds import WITHOUT_SHA, Plan, turned


def contender(key: str, *, once: bool = False) -> Contender:
    return Contender(key=key, name=key, command="true", once=once)


A, B, C = contender("a"), contender("b"), contender("c", once=True)
PHASE = Phase(name="backup", contenders=(A, B, C))
SLOW = Phase(name="restore", contenders=(A, B), once=True)


def plan(*, is_quick: bool = False, without_sha: bool = False, scale: float = 1.0) -> Plan:
    return Plan(rounds=3, sizes=Sizes(scale=scale), is_quick=is_quick, without_sha=without_sha)


def test_each_round_begins_with_another_contender() -> None:
    orders = ["".join(each.key for each in turned((A, B, C), by=by)) for by in range(4)]

    assert orders == ["abc", "bca", "cab", "abc"]


def test_slow_contenders_run_once_and_not_at_all_in_a_quick_run() -> None:
    assert [plan().times(PHASE, each) for each in (A, B, C)] == [3, 3, 1]
    assert [plan(is_quick=True).times(PHASE, each) for each in (A, B, C)] == [3, 3, 0]
    assert plan().times(SLOW, A) == 1
    assert plan(is_quick=True).times(SLOW, A) == 0


def test_sha_instructions_are_masked_only_on_demand() -> None:
    assert WITHOUT_SHA in plan(without_sha=True).environment
    assert WITHOUT_SHA not in plan().environment


@pytest.mark.parametrize(
    ("made", "mode"),
    [
        (plan(), "whole"),
        (plan(is_quick=True, scale=0.2), "quick"),
        (plan(scale=0.01), "whole-x0.01"),
        (plan(is_quick=True, scale=1.0), "quick-x1"),
    ],
)
def test_runs_with_unusual_sizes_have_a_mode_of_their_own(made: Plan, mode: str) -> None:
    assert made.mode == mode


def test_sizes_are_filled_into_scripts_and_casts_remain() -> None:
    script = "SELECT n::text, ':other' FROM generate_series(1, :rows) n; -- 1..:small_tables"

    assert Sizes(scale=0.5).fill(script) == (
        "SELECT n::text, ':other' FROM generate_series(1, 5000000) n; -- 1..250"
    )
    assert Sizes(scale=1e-9).of("rows") == 1


def test_every_size_is_used_and_no_script_has_one_that_is_not_known() -> None:
    used = set()
    for dataset in choice.usual(Sizes()):
        script = (HERE / dataset.script).read_text()
        used |= {name for name in WHOLE if f":{name}" in script}
        for name in WHOLE:
            assert f":{name}" not in Sizes().fill(script).replace("::", "")

    assert used == set(WHOLE)


def test_workloads_are_chosen_by_name_and_share_their_data() -> None:
    both = choice.chosen(["cluster", "postgres"], Sizes())

    assert [each.key for data in both for each in data.workloads] == ["postgres", "cluster"]
    assert len(both) == 1
    assert choice.chosen([], Sizes()) == list(choice.usual(Sizes()))
    assert OUT in both[0].load
