"""Repair removes only what no backup needs and no run can resume."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from holdfast.model.errors import BackupFailed, HoldfastError, RunInFlight, SessionDaemonUnreachable
from holdfast.operations.backup.job import backup
from holdfast.operations.repair import Fate, RepairReport, repair
from holdfast.operations.verify.backup import verify
from holdfast.ports.sessions import RUN_LABEL, HeldKind
from tests.fakes.holder import FakeHolder
from tests.fakes.source import table
from tests.support.memory_job import MemoryJob

DEAD = "shop/20261119T020000Z-0badc0de"


def repaired(job: MemoryJob, *, dry_run: bool = False) -> RepairReport:
    return repair(job.repair_context, dry_run=dry_run)


def fates(report: RepairReport) -> dict[str, Fate]:
    return {each.what: each.fate for each in report.leftovers}


def test_after_good_backups_there_is_nothing_to_repair() -> None:
    job = MemoryJob()
    for _ in range(2):
        backup(job.context)
    before = dict(job.repository.objects)
    report = repaired(job)
    assert (report.leftovers, report.freed_bytes, report.exit_code) == ((), 0, 0)
    assert job.repository.objects == before


def test_what_a_dead_run_left_is_removed_and_unfinished_objects_too() -> None:
    job = MemoryJob()
    backup(job.context)
    good = dict(job.repository.objects)
    job.repository.put(f"{DEAD}/parts/data/x.copy.zst", [b"half"])
    job.repository.unfinished.add(f"{DEAD}/parts/data/.unfinished")
    report = repaired(job)
    assert fates(report) == {DEAD: Fate.REMOVED}
    assert (report.freed_bytes, report.unfinished_puts) == (4, 1)
    assert job.repository.objects == good


def test_a_dry_run_tells_the_same_and_removes_nothing() -> None:
    job = MemoryJob()
    job.repository.put(f"{DEAD}/parts/x.copy.zst", [b"half"])
    before = dict(job.repository.objects)
    with job.guard.hold("shop", deadline=None):
        report = repaired(job, dry_run=True)
    assert fates(report) == {DEAD: Fate.REMOVED}
    assert job.repository.objects == before


def test_what_can_be_resumed_is_kept_while_the_job_says_so() -> None:
    job = MemoryJob(
        table("orders", "1,ann"),
        table("zz_last", "1", "2", fails_with=BackupFailed("cannot read: cut off")),
    )
    job.workers = 1
    job.resumable = True
    with pytest.raises(HoldfastError):
        backup(job.context)
    report = repaired(job)
    assert list(fates(report).values()) == [Fate.KEPT]
    assert "holdfast backup shop --resume" in report.leftovers[0].because
    job.resumable = False
    assert list(fates(repaired(job)).values()) == [Fate.REMOVED]
    # The record of the failure is no leftover: `list` shows it until the next good backup.
    assert [key.rpartition("/")[2] for key in job.repository.objects] == ["failed.json"]


def test_what_lies_beside_a_backup_without_being_of_it_is_removed() -> None:
    job = MemoryJob()
    manifest = backup(job.context).manifest
    job.repository.put(f"{manifest.backup_id}/parts/data/stray.zst", [b"?"])
    job.repository.put(f"{manifest.backup_id}/pruned", [b"a prune died before the manifest"])
    report = repaired(job)
    assert fates(report) == {manifest.backup_id: Fate.REMOVED}
    assert report.leftovers[0].objects == 2
    assert verify(job.reader, manifest.backup_id, workers=1).bad == ()


def test_what_a_backup_lacks_is_told_and_nothing_of_it_is_removed() -> None:
    job = MemoryJob()
    manifest = backup(job.context).manifest
    job.repository.delete(manifest.parts[0].key)
    before = dict(job.repository.objects)
    report = repaired(job)
    assert fates(report) == {manifest.backup_id: Fate.DAMAGED}
    assert report.leftovers[0].because == "1 parts are missing"
    assert report.exit_code == 31
    assert job.repository.objects == before


def test_a_damaged_manifest_is_for_a_person_to_judge() -> None:
    job = MemoryJob()
    manifest = backup(job.context).manifest
    job.repository.flip_bit(f"{manifest.backup_id}/manifest.json", at=200)
    before = dict(job.repository.objects)
    assert fates(repaired(job)) == {manifest.backup_id: Fate.DAMAGED}
    assert job.repository.objects == before


def test_a_blob_without_a_backup_goes_after_its_grace_time() -> None:
    job = MemoryJob()
    job.blob_grace = timedelta(hours=1)
    backup(job.context)
    job.repository.put("shop/blobs/ab/abcd.zst", [b"value"])
    assert fates(repaired(job)) == {}
    job.clock.advance(timedelta(hours=1))
    assert fates(repaired(job)) == {"shop/blobs": Fate.REMOVED}
    assert "shop/blobs/ab/abcd.zst" not in job.repository.objects


def test_nothing_is_repaired_while_a_run_is_under_way() -> None:
    job = MemoryJob()
    with job.guard.hold("shop", deadline=None), pytest.raises(RunInFlight):
        repaired(job)


def held_by_dead_runs(job: MemoryJob, *names: str) -> FakeHolder:
    """A holder of sessions that runs of the job have begun and not ended."""
    holder = FakeHolder()
    for name in names:
        holder.begin(HeldKind.SNAPSHOT, label=RUN_LABEL, fast=True).session_id = name
    job.sessions = holder
    return holder


def test_sessions_of_runs_that_cannot_be_resumed_are_ended() -> None:
    job = MemoryJob()
    holder = held_by_dead_runs(job, "ab", "cd")
    assert fates(repaired(job, dry_run=True)) == {
        "session ab": Fate.REMOVED,
        "session cd": Fate.REMOVED,
    }
    assert holder.open_sessions == 2
    assert list(fates(repaired(job)).values()) == [Fate.REMOVED, Fate.REMOVED]
    assert holder.open_sessions == 0
    assert fates(repaired(job)) == {}


def test_a_session_of_a_run_that_can_be_resumed_is_kept() -> None:
    job = MemoryJob(
        table("orders", "1,ann"),
        table("zz_last", "1", "2", fails_with=BackupFailed("cannot read: cut off")),
    )
    job.workers = 1
    job.resumable = True
    with pytest.raises(HoldfastError):
        backup(job.context)
    (unfinished,) = job.journal.unfinished("shop")
    holder = held_by_dead_runs(job, unfinished.snapshot, "other")
    repaired(job)
    assert holder.left() == [unfinished.snapshot]
    job.resumable = False
    repaired(job)
    assert holder.left() == []


def test_a_holder_that_cannot_be_asked_keeps_nothing_from_being_repaired() -> None:
    job = MemoryJob()
    job.sessions = Deaf()
    job.repository.put(f"{DEAD}/parts/x.copy.zst", [b"half"])
    assert fates(repaired(job)) == {DEAD: Fate.REMOVED}


class Deaf(FakeHolder):
    def left(self) -> Sequence[str]:
        raise SessionDaemonUnreachable("cannot reach the session daemon: Connection refused")
