"""Profiles as formulas, values that override them, and contradictions."""

import pytest

from plugins.module_utils.host_facts import HostFacts, facts_from, parse_meminfo
from plugins.module_utils.kernel_profiles import PROFILES, kernel_plan
from plugins.module_utils.kernel_settings import contradictions, laid_over, lower_than
from plugins.module_utils.tuning_report import Choice

GIB, MIB = 2**30, 2**20
HOST = HostFacts(memory=16 * GIB, committed=2 * GIB)
FIRST_ISSUE = {
    "vm.overcommit_memory": "1",
    "vm.swappiness": "10",
    "vm.dirty_ratio": "10",
    "vm.dirty_background_ratio": "5",
}
MEMINFO = "MemTotal: 1024 kB\nSwapTotal: 512 kB\nHugePages_Total: 2\nHugepagesize: 64 kB\n"


def values(profile: str, facts: HostFacts = HOST) -> dict[str, str]:
    return {key: choice.value for key, choice in kernel_plan(profile, facts).choices.items()}


def test_the_recipe_is_exactly_the_first_issues_values_on_every_host() -> None:
    for memory in (GIB, 16 * GIB, 512 * GIB):
        assert values("recipe", HostFacts(memory=memory)) == FIRST_ISSUE


def test_the_recipe_says_where_its_ratios_mean_little() -> None:
    large = kernel_plan("recipe", HostFacts(memory=64 * GIB)).choices["vm.dirty_ratio"]
    small = kernel_plan("recipe", HOST).choices["vm.dirty_ratio"]
    assert (large.risk, small.risk) == (
        "means little above 32 GiB of memory: use the bytes",
        "",
    )


def test_no_profile_wants_a_key_without_saying_why_and_where_it_is_written() -> None:
    for profile in PROFILES:
        for key, choice in kernel_plan(profile, HOST).choices.items():
            assert choice.why, key
            assert choice.reference, key
            assert choice.formula, key


@pytest.mark.parametrize(("memory", "background_mib"), [(1, 102), (4, 256), (16, 655), (128, 2048)])
def test_throughput_flushes_a_share_of_memory_within_bounds(
    memory: int, background_mib: int
) -> None:
    found = values("backup_throughput", HostFacts(memory=memory * GIB))
    assert int(found["vm.dirty_background_bytes"]) == background_mib * MIB
    assert int(found["vm.dirty_bytes"]) == 4 * background_mib * MIB


def test_no_profile_contradicts_itself_on_any_size_of_host() -> None:
    for profile in PROFILES:
        for memory in (GIB // 2, GIB, 8 * GIB, 1024 * GIB):
            facts = HostFacts(memory=memory)
            assert contradictions(kernel_plan(profile, facts).choices, facts) == []


def test_postgresql_gets_mode_2_only_where_the_limit_leaves_a_margin() -> None:
    assert values("postgresql")["vm.overcommit_memory"] == "2"
    crowded = HostFacts(memory=16 * GIB, committed=12 * GIB)
    plan = kernel_plan("postgresql", crowded)
    assert "vm.overcommit_memory" not in plan.choices
    assert plan.withheld == {
        "vm.overcommit_memory": "not switched to 2: CommitLimit would be 13107 MiB, and "
        "Committed_AS is 12288 MiB: less than 25 percent of margin"
    }


def test_a_host_that_is_in_mode_2_already_stays_there() -> None:
    crowded = HostFacts(memory=16 * GIB, committed=12 * GIB, overcommit_mode="2")
    assert values("postgresql", crowded)["vm.overcommit_memory"] == "2"


def test_huge_pages_are_no_memory_to_commit() -> None:
    facts = HostFacts(memory=16 * GIB, swap=GIB, huge_pages=8 * GIB)
    assert facts.commit_limit(50) == 5 * GIB


def test_mode_1_beside_a_running_postgresql_is_told_as_the_conflict_it_is() -> None:
    beside = HostFacts(memory=16 * GIB, servers=("postgresql",))
    assert (
        laid_over("recipe", {}, beside)
        .choices["vm.overcommit_memory"]
        .risk.startswith("conflict: PostgreSQL's manual asks for 2")
    )
    alone = laid_over("recipe", {}, HOST).choices["vm.overcommit_memory"].risk
    assert not alone.startswith("conflict")


def test_own_values_stand_in_front_under_any_spelling_of_the_key() -> None:
    plan = laid_over("recipe", {"vm/swappiness": 1}, HOST)
    assert plan.choices["vm.swappiness"] == Choice(value="1")
    assert len(plan.choices) == len(FIRST_ISSUE)


def test_an_own_value_takes_its_counterpart_out_of_the_profile() -> None:
    chosen = laid_over("recipe", {"vm.dirty_bytes": 4 * GIB}, HOST).choices
    assert "vm.dirty_ratio" not in chosen
    assert chosen["vm.dirty_bytes"].value == str(4 * GIB)


def test_both_of_a_pair_are_refused() -> None:
    both = laid_over("none", {"vm.dirty_bytes": 1, "vm.dirty_ratio": 1}, HOST)
    assert contradictions(both.choices, HOST) == [
        (
            "cannot set 'vm.dirty_bytes' beside 'vm.dirty_ratio': setting one zeroes the other; "
            "choose one"
        )
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"vm.dirty_ratio": 5},
        {"vm.dirty_bytes": 64 * MIB},
        {"vm.dirty_background_bytes": 4 * GIB},
    ],
)
def test_a_background_above_the_foreground_is_refused_across_units(
    settings: dict[str, int],
) -> None:
    (told,) = contradictions(laid_over("recipe", settings, HOST).choices, HOST)
    assert "it must be below" in told


def test_mode_2_by_name_is_refused_without_a_margin() -> None:
    crowded = HostFacts(memory=16 * GIB, committed=8 * GIB)
    plan = laid_over("recipe", {"vm.overcommit_memory": 2}, crowded)
    (told,) = contradictions(plan.choices, crowded)
    assert told.startswith(
        "cannot set 'vm.overcommit_memory' to '2': CommitLimit would be 8192 MiB"
    )
    assert told.endswith("of margin; vm.overcommit_ratio of 80 may do")
    wider = laid_over("recipe", {"vm.overcommit_memory": 2, "vm.overcommit_ratio": 80}, crowded)
    assert contradictions(wider.choices, crowded) == []


@pytest.mark.parametrize(
    ("live", "wanted", "lower"),
    [
        ("1", "11", True),
        ("11", "1", False),
        ("5", "5", True),
        ("4 9", "5 5", False),
        ("x", "1", True),
    ],
)
def test_raising_compares_numbers_not_words(live: str, wanted: str, lower: bool) -> None:
    assert lower_than(live, wanted) is lower


def test_the_kernels_sizes_are_read_with_their_units() -> None:
    facts = facts_from(parse_meminfo(MEMINFO), mode="0", servers=())
    assert (facts.memory, facts.swap, facts.huge_pages) == (2**20, 2**19, 2 * 2**16)
