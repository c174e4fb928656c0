"""Drill checks are judged by their answers, and databases take turns."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.model.drill import (
    Answer,
    Check,
    DrillFinding,
    DrillRecord,
    DrillSeconds,
    Goals,
    Outcome,
    ProofRow,
    compared,
    least_recently_drilled,
    moment_in,
)

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
RECORD = DrillRecord(
    job="shop",
    name="20261120T120000Z-00000001",
    backup="shop/20261120T020000Z-00000001",
    database="shop",
    host="db1",
    version="0.1.0",
    began=AT,
    ended=AT + timedelta(minutes=1),
    outcome=Outcome.PASSED,
)


@pytest.mark.parametrize(
    ("check", "answer", "outcome"),
    [
        (Check(sql="s"), Answer(rows=1, value="7"), Outcome.PASSED),
        (Check(sql="s"), Answer(rows=2, value="7"), Outcome.PASSED),
        (Check(sql="s"), Answer(rows=1, value="0"), Outcome.FAILED),
        (Check(sql="s"), Answer(rows=1, value="f"), Outcome.FAILED),
        (Check(sql="s"), Answer(rows=1, value=None), Outcome.FAILED),
        (Check(sql="s"), Answer(rows=0, value=None), Outcome.FAILED),
        (Check(sql="s", equals="3"), Answer(rows=1, value="3"), Outcome.PASSED),
        (Check(sql="s", equals="3"), Answer(rows=1, value="4"), Outcome.FAILED),
        (Check(sql="s", equals="3"), Answer(rows=2, value="3"), Outcome.FAILED),
        (Check(sql="s", equals="3"), Answer(rows=0, value=None), Outcome.FAILED),
    ],
)
def test_an_answer_is_compared_with_what_the_job_expects(
    check: Check, answer: Answer, outcome: Outcome
) -> None:
    assert check.judged(answer, taken_at=AT).outcome is outcome


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        ("2026-11-19 11:00:00+00", Outcome.PASSED),
        ("2026-11-19 10:00:00", Outcome.PASSED),
        ("2026-11-19 09:59:59", Outcome.FAILED),
        ("2026-11-19 11:00:00+02", Outcome.FAILED),
        ("yesterday", Outcome.FAILED),
        ("infinity", Outcome.FAILED),
        ("0001-01-01 00:00:00+14:00", Outcome.FAILED),
        ("9999-12-31 23:59:59-12:00", Outcome.FAILED),
        (None, Outcome.FAILED),
    ],
)
def test_freshness_counts_back_from_the_moment_of_the_backup(
    value: str | None, outcome: Outcome
) -> None:
    check = Check(sql="SELECT max(at) FROM orders", newer_than=timedelta(hours=26))
    row = check.judged(Answer(rows=1, value=value), taken_at=AT)
    assert row.outcome is outcome
    assert row.name == "check: SELECT max(at) FROM orders"


def test_the_longest_age_reaches_back_to_the_first_time_that_there_is() -> None:
    check = Check(sql="SELECT 1", newer_than=timedelta(days=36500))
    told = Answer(rows=1, value="0001-01-01 00:00:00")
    row = check.judged(told, taken_at=datetime(50, 1, 1, tzinfo=UTC))
    assert row.outcome is Outcome.PASSED


def test_times_without_a_zone_are_utc() -> None:
    assert moment_in("2026-11-20") == datetime(2026, 11, 20, tzinfo=UTC)


def test_the_first_thing_that_is_wrong_is_told() -> None:
    bad = replace(RECORD, outcome=Outcome.FAILED, error="it was ended")
    assert RECORD.problem == ""
    assert bad.problem == "it was ended"
    rows = (
        compared("rows of public.a", expected=1, found=1),
        compared("rows of public.b", expected=2, found=3),
        ProofRow(name="amcheck", outcome=Outcome.FAILED, detail="index broken"),
    )
    assert replace(bad, rows=rows).problem == "rows of public.b: expected 2, found 3"
    assert replace(bad, rows=rows[2:]).problem == "amcheck: index broken"
    lacking = DrillFinding(subject="extension 'postgis'", problem="is not installed")
    minor = DrillFinding(subject="role 'a'", problem="is new", blocks=False)
    found = replace(bad, rows=rows, findings=(minor, lacking))
    assert found.problem == "extension 'postgis': is not installed"


def test_the_measured_restore_leaves_out_what_an_emergency_does_not_need() -> None:
    seconds = DrillSeconds(prepare=9, fetch=1, load=2, indexes=3, recovery=4, checks=9)
    assert seconds.restore == 10


def test_the_database_that_was_not_drilled_for_longest_comes_first() -> None:
    records = [
        replace(RECORD, database="b", began=AT),
        replace(RECORD, database="a", began=AT - timedelta(days=1)),
        replace(RECORD, database="a", began=AT + timedelta(days=1)),
    ]
    assert least_recently_drilled(["a", "b", "new"], records) == ["new", "b", "a"]


def test_what_is_told_of_a_failed_drill_holds_neither_statements_nor_values() -> None:
    bad = {"outcome": Outcome.FAILED, "expected": "4111", "found": "hunter2"}
    check = ProofRow(name="check: select card from cards", **bad)  # type: ignore[arg-type]
    failed = replace(RECORD, outcome=Outcome.FAILED, rows=(check,))
    start = f"drill of {RECORD.backup} failed: "
    assert failed.told_problem == f"{start}1 of 1 proofs failed, among them: a check of the job"
    rows = ProofRow(name="rows of public.orders", **bad)  # type: ignore[arg-type]
    failed = replace(failed, rows=(check, rows))
    assert failed.told_problem == f"{start}2 of 2 proofs failed, among them: rows of public.orders"
    failed = replace(RECORD, outcome=Outcome.FAILED, error="cannot load 'orders'")
    assert failed.told_problem == f"{start}cannot load 'orders'"
    assert RECORD.told_problem == ""


@pytest.mark.parametrize(
    ("goals", "missed"),
    [
        (Goals(), []),
        (Goals(rto=timedelta(minutes=2), rpo=timedelta(hours=1)), []),
        (Goals(rto=timedelta(seconds=119)), ["the restore took 2m, drill.rto allows 1m 59s"]),
        (
            Goals(rpo=timedelta(minutes=59)),
            ["changes of 1h would be lost, drill.rpo allows 59m"],
        ),
    ],
)
def test_a_good_drill_says_which_goals_it_missed(goals: Goals, missed: list[str]) -> None:
    record = replace(RECORD, seconds=DrillSeconds(load=120), reached=AT - timedelta(hours=1))
    assert goals.missed(record) == [f"drill of {RECORD.backup}: {each}" for each in missed]
    assert goals.missed(replace(record, outcome=Outcome.FAILED)) == []


def test_a_drill_of_an_older_moment_loses_nothing_unintended() -> None:
    record = replace(RECORD, reached=AT - timedelta(hours=1))
    goals = Goals(rpo=timedelta(minutes=1))
    assert goals.missed(record, measures_loss=False) == []
    assert goals.missed(replace(record, reached=None)) == []
    # The clock of the source may be ahead of this host's.
    assert replace(record, reached=AT + timedelta(hours=1)).loss == timedelta(0)
