"""A check finds all problems at once and carries the code of the first."""

from __future__ import annotations

from holdfast.model.errors import AccessDenied, RepositoryReadOnly
from holdfast.operations.status import check
from tests.fakes.repository import MemoryRepository
from tests.fakes.source import table
from tests.support.memory_job import MemoryJob


def test_a_job_that_would_run_has_no_problem() -> None:
    report = check(MemoryJob().check_context)
    assert report.exit_code == 0
    assert [finding.subject for finding in report.findings] == ["repository", "server", "room"]
    assert not any(finding.problem for finding in report.findings)


def test_one_problem_does_not_hide_the_other() -> None:
    job = MemoryJob()
    job.repository.refuse_puts_with = RepositoryReadOnly("cannot store: read-only", hint="rw")
    job.source.refuse_with = AccessDenied("cannot log in", hint="grant it")
    report = check(job.check_context)
    problems = [(each.subject, each.problem, each.hint) for each in report.findings]
    assert ("repository", "cannot store: read-only", "rw") in problems
    assert ("source", "cannot log in", "grant it") in problems
    assert report.exit_code == RepositoryReadOnly.exit_code


def test_too_little_room_is_said_with_both_numbers() -> None:
    job = MemoryJob(table("orders", "x" * 29_999_999))
    job.repository = MemoryRepository(free_bytes=10)
    report = check(job.check_context)
    assert "10 B are free, up to 28.6 MiB are needed" in report.findings[-1].problem
    assert report.exit_code == 51
