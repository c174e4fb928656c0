"""The drill of a job: its defaults, its checks, and every mistake in them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.config.load import load
from holdfast.model.drill import Check
from tests.support.configs import JOB, refused, written


def test_a_job_may_be_drilled_without_any_setting(tmp_path: Path) -> None:
    found = load(written(tmp_path, JOB)).jobs["shop"].drill
    assert (found.schedule, found.folder, found.user, found.checks) == (None, None, None, ())
    assert (found.budget, found.memory_limit_mb) == (timedelta(hours=4), None)


def test_checks_are_read_with_what_they_expect(tmp_path: Path) -> None:
    text = """\
    drill:
      schedule: "Sun 04:00"
      budget: 90m
      memory_limit_mb: 2048
      folder: /srv/drills
      user: postgres
      checks:
        - {name: fresh, sql: "SELECT max(at) FROM orders", newer_than: 26h}
        - {sql: "SELECT count(*) FROM root", equals: 1, database: shop}
        - {sql: "WITH a AS (SELECT 1) SELECT * FROM a", not_empty: true}
"""
    found = load(written(tmp_path, JOB + text)).jobs["shop"].drill
    assert (found.schedule, found.budget) == ("Sun 04:00", timedelta(minutes=90))
    assert [each.check for each in found.checks] == [
        Check(sql="SELECT max(at) FROM orders", name="fresh", newer_than=timedelta(hours=26)),
        Check(sql="SELECT count(*) FROM root", equals="1", database="shop"),
        Check(sql="WITH a AS (SELECT 1) SELECT * FROM a"),
    ]


@pytest.mark.parametrize(
    ("check", "cause"),
    [
        ('{sql: "DELETE FROM orders"}', "the check is no SELECT"),
        ('{sql: "SELECT 1", equals: 1, newer_than: 1h}', "a check has several expected answers"),
        ('{sql: "SELECT 1", not_empty: false}', "not_empty"),
        ('{sql: "SELECT 1", newer_than: soon}', "'soon' is not a duration"),
        ('{sql: "SELECT 1", newer_than: 999999999999d}', "too long for a duration"),
        (f'{{sql: "SELECT 1", newer_than: {"9" * 5000}d}}', "is not a duration"),
        ("{equals: 1}", "sql"),
    ],
)
def test_a_check_that_cannot_be_asked_is_refused_with_its_line(
    tmp_path: Path, check: str, cause: str
) -> None:
    what, _ = refused(tmp_path, f"{JOB}    drill: {{checks: [{check}]}}\n")
    assert what.startswith("line 7: jobs.shop.drill.checks.0")
    assert cause in what
