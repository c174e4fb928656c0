"""Retention is arithmetic: every rule, their union, and what no rule may drop."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from holdfast.model.retention import Candidate, Policy, plan

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def daily_backups(days: int) -> list[Candidate]:
    return [
        Candidate(backup_id=f"shop/{day:03}", taken_at=NOON - timedelta(days=day))
        for day in range(days)
    ]


def kept(candidates: list[Candidate], policy: Policy) -> list[str]:
    return [each.candidate.backup_id for each in plan(candidates, policy, now=NOON) if each.keep]


@pytest.mark.parametrize(
    ("policy", "count"),
    [
        (Policy(last=3), 3),
        (Policy(daily=7), 7),
        (Policy(weekly=4), 4),
        (Policy(monthly=12), 12),
        (Policy(yearly=5), 2),
        (Policy(last=500), 400),
        (Policy(), 400),
    ],
)
def test_each_rule_keeps_its_number_of_400_daily_backups(policy: Policy, count: int) -> None:
    assert len(kept(daily_backups(400), policy)) == count


def test_two_backups_of_a_day_count_as_one_day_and_the_newer_stays() -> None:
    morning = Candidate(backup_id="morning", taken_at=NOON - timedelta(hours=6))
    noon = Candidate(backup_id="noon", taken_at=NOON)
    yesterday = Candidate(backup_id="yesterday", taken_at=NOON - timedelta(days=1))
    assert kept([morning, yesterday, noon], Policy(daily=2)) == ["noon", "yesterday"]


def test_order_is_by_time_and_not_by_name() -> None:
    late = Candidate(backup_id="a", taken_at=NOON)
    early = Candidate(backup_id="z", taken_at=NOON - timedelta(days=1))
    assert kept([early, late], Policy(last=1)) == ["a"]


def test_every_verdict_says_why() -> None:
    verdicts = plan(daily_backups(3), Policy(daily=1, weekly=2), now=NOON)
    assert [each.because for each in verdicts] == [
        "daily 1 of 1, weekly 1 of 2",
        "no rule keeps it",
        "no rule keeps it",
    ]


def test_a_week_runs_over_the_turn_of_the_year() -> None:
    last_of_2026 = Candidate(backup_id="december", taken_at=datetime(2026, 12, 31, tzinfo=UTC))
    first_of_2027 = Candidate(backup_id="january", taken_at=datetime(2027, 1, 1, tzinfo=UTC))
    assert kept([last_of_2026, first_of_2027], Policy(weekly=5)) == ["january"]


def test_age_keeps_what_is_young_enough_to_the_second() -> None:
    assert len(kept(daily_backups(30), Policy(within=timedelta(days=7)))) == 8
    verdict = plan(daily_backups(1), Policy(within=timedelta(days=7)), now=NOON)[0]
    assert verdict.because == "younger than 7 days"


def test_a_backup_from_the_future_is_young() -> None:
    tomorrow = Candidate(backup_id="tomorrow", taken_at=NOON + timedelta(days=1))
    after = Candidate(backup_id="after", taken_at=NOON + timedelta(days=2))
    assert kept([tomorrow, after], Policy(within=timedelta(hours=1))) == ["after", "tomorrow"]


def test_the_newest_proven_one_and_what_is_in_flight_are_never_dropped() -> None:
    candidates = daily_backups(6)
    candidates[3] = replace(candidates[3], proven_at=NOON)
    candidates[4] = replace(candidates[4], proven_at=NOON)
    candidates[5] = replace(candidates[5], in_flight=True)
    assert kept(candidates, Policy(last=1)) == ["shop/000", "shop/003", "shop/005"]


def test_damaged_ones_are_counted_by_themselves() -> None:
    candidates = daily_backups(4)
    candidates[0] = replace(candidates[0], damaged=True)
    candidates[1] = replace(candidates[1], damaged=True, proven_at=NOON)
    assert kept(candidates, Policy(last=1)) == ["shop/000", "shop/002"]


moments = st.lists(
    st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2030, 1, 1)),  # noqa: DTZ001  # hypothesis wants naive bounds
    min_size=1,
    max_size=60,
    unique=True,
)
policies = st.builds(
    Policy,
    last=st.integers(0, 5),
    within=st.none() | st.timedeltas(timedelta(seconds=1), timedelta(days=4000)),
    daily=st.integers(0, 9),
    weekly=st.integers(0, 6),
    monthly=st.integers(0, 14),
    yearly=st.integers(0, 3),
)


@given(moments, policies)
def test_the_newest_is_always_kept_and_pruning_twice_changes_nothing(
    times: list[datetime], policy: Policy
) -> None:
    candidates = [
        Candidate(backup_id=str(number), taken_at=at.replace(tzinfo=UTC))
        for number, at in enumerate(times)
    ]
    survivors = [each.candidate for each in plan(candidates, policy, now=NOON) if each.keep]
    assert max(candidates, key=lambda each: each.taken_at) in survivors
    assert all(each.keep for each in plan(survivors, policy, now=NOON))


def test_a_kept_incremental_keeps_every_backup_that_it_needs() -> None:
    full, first, second = (
        Candidate(backup_id=name, taken_at=NOON - timedelta(days=age), parent=parent)
        for name, age, parent in (("full", 9, ""), ("first", 8, "full"), ("second", 7, "first"))
    )
    verdicts = plan([full, first, second], Policy(last=1), now=NOON)
    assert [(each.candidate.backup_id, each.because) for each in verdicts] == [
        ("second", "last 1 of 1"),
        ("first", "parent of second"),
        ("full", "parent of first"),
    ]
    newer = Candidate(backup_id="newer", taken_at=NOON)
    assert kept([full, first, second, newer], Policy(last=1)) == ["newer"]
    # The clock of a host was wrong: the parent seems younger than its child.
    early = Candidate(backup_id="early", taken_at=NOON - timedelta(days=30), parent="newer")
    damaged = replace(early, damaged=True)
    assert kept([early, newer, second, first], Policy(within=timedelta(days=60)))[-1] == "early"
    assert plan([damaged, newer], Policy(last=1), now=NOON)[0].keep
