"""A job is verified database by database: those first that were not read for longest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from holdfast.model.errors import BackupNotFound
from holdfast.operations.backup.job import backup
from holdfast.operations.verify.scrub import JobReport, JobRequest, verify_job
from tests.fakes.source import FakeSource, table
from tests.support.memory_job import MemoryJob

FULL = JobRequest(job="shop", level="full", budget=timedelta(hours=1), workers=2)


@pytest.fixture
def job() -> MemoryJob:
    """A job with one backup of each of two databases."""
    made = MemoryJob()
    made.source.others = [
        FakeSource(table("orders", "1"), name="shop"),
        FakeSource(table("pages", "1", "2"), name="wiki"),
    ]
    backup(made.context)
    return made


def databases(report: JobReport) -> list[str]:
    return [each.manifest.server.database for each in report.reports]


def short(job: MemoryJob) -> JobReport:
    """With a budget that has passed when the first database is done."""
    ticks: Iterator[float] = iter(range(100))
    request = JobRequest(job="shop", level="full", budget=timedelta(seconds=1), workers=1)
    return verify_job(job.reader, request, seconds=lambda: float(next(ticks)))


def test_the_newest_backup_of_each_database_is_read(job: MemoryJob) -> None:
    newest = {each.backup_id for each in backup(job.context).manifests}
    report = verify_job(job.reader, FULL)
    assert {each.manifest.backup_id for each in report.reports} == newest
    assert (report.left, report.exit_code) == ((), 0)


def test_with_a_short_budget_every_database_gets_its_turn(job: MemoryJob) -> None:
    first, second, third = short(job), short(job), short(job)
    assert len(databases(first)) == len(databases(second)) == 1
    assert first.left == tuple(databases(second))
    assert databases(third) == databases(first)


def test_a_bad_backup_does_not_stop_the_others_and_fails_the_job(job: MemoryJob) -> None:
    for key in job.repository.objects:
        if "orders" in key:
            job.repository.flip_bit(key, at=0)
    report = verify_job(job.reader, FULL)
    assert {each.manifest.server.database: bool(each.bad) for each in report.reports} == {
        "shop": True,
        "wiki": False,
    }
    assert report.exit_code == 31


def test_a_damaged_manifest_fails_the_job_and_hides_nothing(job: MemoryJob) -> None:
    (key,) = [each for each in job.repository.objects if each.endswith("manifest.json")][:1]
    job.repository.flip_bit(key, at=5)
    report = verify_job(job.reader, FULL)
    assert (len(report.reports), len(report.damaged), report.exit_code) == (1, 1, 31)


def test_a_job_without_a_backup_of_the_database_is_told(job: MemoryJob) -> None:
    request = JobRequest(
        job="shop", level="quick", budget=timedelta(hours=1), workers=1, database="blog"
    )
    with pytest.raises(BackupNotFound, match="no finished backup of database 'blog'"):
        verify_job(job.reader, request)
