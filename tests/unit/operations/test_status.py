"""Status reads success and failure from the same three places that runs write to."""

from __future__ import annotations

from datetime import timedelta

import pytest

from holdfast.model.errors import DatabaseUnreachable, RunInFlight
from holdfast.operations.backup.job import backup
from holdfast.operations.status import status
from tests.support.memory_job import MemoryJob


def test_a_job_that_never_ran_has_nothing_to_show() -> None:
    report = status(MemoryJob().status_context)
    assert (report.newest, report.age, report.last_run, report.backups) == (None, None, None, 0)


def test_a_failed_run_does_not_hide_the_last_good_backup() -> None:
    job = MemoryJob()
    manifest = backup(job.context).manifest
    job.clock.advance(timedelta(days=1))
    job.source.refuse_with = DatabaseUnreachable("cannot reach 'db'")
    with pytest.raises(DatabaseUnreachable):
        backup(job.context)
    report = status(job.status_context)
    assert report.newest == manifest
    assert report.age is not None
    assert report.age > timedelta(days=1)
    assert report.last_run is not None
    assert report.last_run.error == "cannot reach 'db'"


def test_skipped_runs_are_counted_until_one_goes_through() -> None:
    job = MemoryJob()
    for _ in range(3):
        with job.guard.hold("shop", deadline=None), pytest.raises(RunInFlight):
            backup(job.context)
    assert status(job.status_context).skipped_in_a_row == 3
    backup(job.context)
    assert status(job.status_context).skipped_in_a_row == 0


def test_the_owner_of_a_run_in_flight_is_shown() -> None:
    job = MemoryJob()
    with job.guard.hold("shop", deadline=None):
        assert status(job.status_context).owner == {"pid": "1", "deadline": ""}
