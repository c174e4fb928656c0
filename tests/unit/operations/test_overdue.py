"""A job whose backups have stopped is noticed once, also if it never had one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.host_state.outbox import FileOutbox
from holdfast.operations.overdue import RUNS_SEEN, overdue
from holdfast.ports.host_state import RunRecord
from tests.fakes.run_history import MemoryRunHistory

AT = datetime(2026, 11, 30, 2, tzinfo=UTC)
DAY = timedelta(hours=26)
GOOD = RunRecord(job="shop", run_id="1", outcome="ok", started_at=AT, finished_at=AT)


class Host:
    """What a host remembers, and the question at a time."""

    def __init__(self, folder: Path) -> None:
        self.history = MemoryRunHistory()
        self.folder = folder / "notify"

    def since(self, after_hours: float) -> datetime | None:
        now = AT + timedelta(hours=after_hours)
        found = overdue(self.history, FileOutbox(self.folder), "shop", after=DAY, now=now)
        self.is_overdue = found is not None
        return found.since if found and found.is_new else None


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_job_is_overdue_once_for_each_good_run(host: Host) -> None:
    host.history.record(GOOD)
    assert host.since(25) is None
    assert host.since(27) == AT
    assert host.since(28) is None, "it was told"
    assert host.is_overdue, "and it still is"
    later = AT + timedelta(hours=30)
    host.history.record(replace(GOOD, run_id="2", finished_at=later))
    assert host.since(31) is None
    assert host.since(60) == later


def test_a_run_that_failed_or_was_skipped_is_no_good_one(host: Host) -> None:
    host.history.record(GOOD)
    for outcome in ("failed", "skipped"):
        late = AT + timedelta(hours=26)
        host.history.record(replace(GOOD, run_id="2", outcome=outcome, finished_at=late))
    assert host.since(27) == AT


def test_a_good_run_that_left_the_history_still_counts(host: Host) -> None:
    assert host.since(-500) is None
    host.history.record(GOOD)
    assert host.since(1) is None
    for number in range(RUNS_SEEN):
        skipped = replace(GOOD, run_id=f"s{number}", outcome="skipped")
        host.history.record(skipped)
    assert all(run.outcome == "skipped" for run in host.history.last("shop", count=RUNS_SEEN))
    assert host.since(9) is None, "the last good run ended nine hours ago"
    assert host.since(27) == AT


def test_a_job_that_never_had_a_backup_counts_from_the_first_question(host: Host) -> None:
    assert host.since(0) is None
    assert host.since(26) is None
    assert host.since(27) == AT
    assert host.since(28) is None
