"""A timeout ends the opening of a snapshot and every read."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace

import pytest

from holdfast.model.errors import DeadlineExceeded, LeaseLost
from holdfast.operations.backup.job import backup
from holdfast.ports.source import Blobs
from holdfast.runtime.cleanup import waiting_for
from tests.fakes.source import FakeSnapshot, FakeSource, table
from tests.support.memory_job import MemoryJob


class Stuck(FakeSource):
    """A server that opens no snapshot, because a session has locked a table."""

    @contextmanager
    def open(
        self, *, workers: int, blobs: Blobs | None = None, rejoin: str = ""
    ) -> Iterator[FakeSnapshot]:
        waiting_for("waiting for a lock on table 'shop.orders', held by pid 7 (ALTER TABLE)")
        threading.Event().wait(60)
        with super().open(workers=workers, blobs=blobs, rejoin=rejoin) as snapshot:
            yield snapshot


def test_a_snapshot_that_is_not_opened_in_time_is_given_up_and_says_what_it_waited_for() -> None:
    job = MemoryJob(timeout=timedelta(milliseconds=200))
    job.source = Stuck(table("orders", "1,ann"))
    with pytest.raises(DeadlineExceeded, match="held by pid 7") as caught:
        backup(job.context)
    assert "the snapshot was not taken yet" in caught.value.message
    assert "holdfast plan" in caught.value.hint
    assert job.stored_names() == ["failed.json"]
    assert job.history.last("shop", count=1)[0].exit_code == DeadlineExceeded.exit_code
    job.source = FakeSource(table("orders", "1,ann"))
    job.timeout = None
    backup(job.context)


def test_a_job_that_is_lost_while_its_snapshot_is_opened_is_given_up() -> None:
    job = MemoryJob()
    job.source = Stuck(table("orders", "1,ann"))
    job.guard.hold_given.lost = "another host has taken it over"
    with pytest.raises(LeaseLost, match="another host has taken it over"):
        backup(job.context)


def test_the_deadline_counts_the_opening_and_the_reads_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hours = [0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 3600 * hours[0])
    monkeypatch.setattr("holdfast.operations.backup.attempt.time", clock)

    class Slow(FakeSource):
        @contextmanager
        def open(
            self, *, workers: int, blobs: Blobs | None = None, rejoin: str = ""
        ) -> Iterator[FakeSnapshot]:
            hours[0] += 1
            with super().open(workers=workers, blobs=blobs, rejoin=rejoin) as snapshot:
                yield snapshot

    class AnHour(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            hours[0] += 1
            return super().wait(timeout)

    job = MemoryJob(timeout=timedelta(minutes=90))
    job.source = Slow(dataclasses.replace(table("orders", "1,ann"), waits_for=AnHour()))
    with pytest.raises(DeadlineExceeded, match=r"took longer than 1:30:00$"):
        backup(job.context)
