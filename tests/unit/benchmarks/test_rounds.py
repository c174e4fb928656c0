"""How often each contender takes part, in which order, and with how much data."""

from __future__ import annotations

import json
import re

import pytest

from benchmarks import choice
from benchmarks.contenders import HERE, OUT, WHOLE, Contender, Dataset, Phase, Sizes, Workload
from benchmarks.results import WorkloadResult
from benchmarks.rounds import WITHOUT_SHA, Bench, Plan, turned
from lab.errors import LabError


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


def test_no_variable_of_a_script_is_left_for_the_server() -> None:
    for dataset in (*choice.usual(Sizes()), *choice.others(Sizes())):
        script = Sizes().fill((HERE / dataset.script).read_text())
        for name in re.findall(r"(?<!:):([a-z_]+)", re.sub("--.*", "", script)):
            assert f"-v {name}=" in dataset.load


def test_workloads_are_chosen_by_name_and_share_their_data() -> None:
    both = choice.chosen(["cluster", "postgres"], Sizes())

    assert [each.key for data in both for each in data.workloads] == ["postgres", "cluster"]
    assert len(both) == 1
    assert choice.chosen([], Sizes()) == list(choice.usual(Sizes()))
    assert OUT in both[0].load


class Host:
    """Runs nothing: it records the lines, measures one second each, and fails where it should."""

    def __init__(self, *failing: str) -> None:
        self.lines: list[str] = []
        self._failing = failing

    def __call__(self, user: str, line: str, feed: str = "") -> str:
        self.lines.append(line)
        if any(each in line for each in self._failing):
            raise LabError("podman: it failed")
        if line.startswith("du "):
            return "700 folder"
        cost = {"seconds": 1.0, "client_cpu_seconds": 0.5, "server_cpu_seconds": 0.25}
        return json.dumps(cost | {"peak_bytes": 10, "peak_tasks": 2})

    def measured(self) -> list[str]:
        """The commands that were measured, in their order."""
        return [line.rpartition("measure.py ")[2] for line in self.lines if "measure.py" in line]


def dataset(*phases: Phase) -> Dataset:
    workloads = [
        Workload(key=key, title=key, config="jobs: {}", phases=phases) for key in ("one", "two")
    ]
    return Dataset(
        key="data",
        host="pg13",
        user="postgres",
        script="bench.empty.sql",
        load="load them",
        drop="drop them",
        settle="settle",
        workloads=tuple(workloads),
    )


def program(key: str, *, once: bool = False, size: str = "") -> Contender:
    return Contender(
        key=key, name=key, command=f"run-{key}", reset=f"reset-{key}", once=once, size=size
    )


OURS, PEER, SLOW_PEER = program("ours", size="stored"), program("peer"), program("slow", once=True)


def run(host: Host, *, phases: tuple[Phase, ...]) -> tuple[list[WorkloadResult], list[str]]:
    bench = Bench(host, plan(), say=lambda _: None)
    return list(bench.measured(dataset(*phases))), bench.failures


def test_contenders_alternate_and_each_is_reset_and_settled_before() -> None:
    host = Host()

    (one, two), failures = run(host, phases=(Phase(name="backup", contenders=(OURS, PEER)),))

    assert failures == []
    assert " ".join(host.measured()[:6]) == "run-ours run-peer run-peer run-ours run-ours run-peer"
    first = host.lines.index("cd / && python /project/benchmarks/measure.py run-ours")
    before = host.lines[first - 1]
    assert before == "reset-ours && settle"
    assert [(each.key, len(each.costs)) for each in one.phases[0].contenders] == [
        ("ours", 3),
        ("peer", 3),
    ]
    assert one.phases[0].contenders[0].stored_bytes == 700
    assert (one.key, two.key) == ("one", "two")
    assert host.lines[-1] == "drop them"


def test_a_contender_that_fails_is_left_out_and_told() -> None:
    host = Host("run-peer")

    (one, _), failures = run(
        host, phases=(Phase(name="backup", contenders=(OURS, PEER, SLOW_PEER)),)
    )

    assert [(each.key, len(each.costs)) for each in one.phases[0].contenders] == [
        ("ours", 3),
        ("slow", 1),
    ]
    assert failures == [f"{key} backup: peer: podman: it failed" for key in ("one", "two")]
    assert host.measured().count("run-peer") == 2


def test_data_that_cannot_be_loaded_leave_out_their_workloads_only() -> None:
    host = Host("load them")

    found, failures = run(host, phases=(Phase(name="backup", contenders=(OURS, PEER)),))

    assert found == []
    assert failures == ["data: podman: it failed"]
    assert host.lines[-1] == "drop them"
