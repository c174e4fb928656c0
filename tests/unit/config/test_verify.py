"""The settings of a job's regular verification are as strict as all others."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.configs import JOB, job, refused


def test_a_job_without_them_is_verified_fully_for_half_an_hour(tmp_path: Path) -> None:
    found = job(tmp_path, JOB).verify
    assert (found.schedule, found.level, found.budget) == (None, "full", timedelta(minutes=30))


def test_they_are_taken_as_written(tmp_path: Path) -> None:
    text = f'{JOB}    verify: {{schedule: "*-*-* 05:00", level: ledger, budget: 2h}}\n'
    found = job(tmp_path, text).verify
    assert (found.schedule, found.level) == ("*-*-* 05:00", "ledger")
    assert found.budget == timedelta(hours=2)


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("level: fully", "level: 'fully' is not one of quick, full, ledger", "full"),
        ("budget: long", "budget: 'long' is not a duration", ""),
        ("times: daily", "times: unknown key", "budget, level, schedule"),
    ],
)
def test_a_mistake_is_told_with_line_and_key(
    tmp_path: Path, line: str, message: str, hint: str
) -> None:
    told, hinted = refused(tmp_path, f"{JOB}    verify:\n      {line}\n")
    assert told.startswith(f"line 8: jobs.shop.verify.{message}")
    assert hint in hinted
