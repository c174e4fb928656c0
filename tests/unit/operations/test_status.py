"""Status reads success and failure from the same three places that runs write to."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast.catalog.drill_records import DrillRecords
from holdfast.model.drill import Outcome
from holdfast.model.errors import DatabaseUnreachable, RunInFlight
from holdfast.operations.backup.job import backup
from holdfast.operations.status import status
from tests.support.memory_job import MemoryJob
from tests.unit.model.test_drill import RECORD


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


def test_a_good_drill_of_another_database_hides_no_failed_one() -> None:
    job = MemoryJob()
    backup(job.context)
    records = DrillRecords(job.repository, "shop")
    later = {"name": "20261120T120000Z-00000002", "began": RECORD.began + timedelta(hours=1)}
    records.commit(replace(RECORD, outcome=Outcome.FAILED, error="it ended"))
    records.commit(replace(RECORD, database="other", **later))  # type: ignore[arg-type]
    problem = status(job.status_context).problem(None)
    assert problem == "the last drill of database 'shop' failed: it ended"


def test_the_drill_of_a_database_without_a_backup_is_no_problem_for_ever() -> None:
    job = MemoryJob()
    backup(job.context)
    records = DrillRecords(job.repository, "shop")
    later = {"name": "20261120T120000Z-00000002", "began": RECORD.began + timedelta(hours=1)}
    records.commit(replace(RECORD, database="dropped", outcome=Outcome.FAILED))
    records.commit(replace(RECORD, **later))  # type: ignore[arg-type]
    assert status(job.status_context).problem(None) == ""
