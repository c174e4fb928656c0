"""Repair removes what no backup needs and no run can go on with, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from holdfast.model.errors import BackupFailed, HoldfastError, RunInFlight, SessionDaemonUnreachable
from holdfast.operations.backup.job import backup
from holdfast.operations.repair import Fate, RepairReport, repair
from holdfast.operations.verify.full import verify
from holdfast.ports.sessions import RUN_LABEL, HeldKind
from tests.fakes.holder import FakeHolder
from tests.fakes.source import table
from tests.support.worlds import World

DEAD = "shop/20261119T020000Z-0badc0de"


def repaired(world: World, *, dry_run: bool = False) -> RepairReport:
    return repair(world.context, dry_run=dry_run)


def fates(report: RepairReport) -> dict[str, Fate]:
    return {each.what: each.fate for each in report.leftovers}


def test_after_good_backups_there_is_nothing_to_repair() -> None:
    world = World()
    for _ in range(2):
        backup(world.context)
    before = dict(world.repository.objects)
    report = repaired(world)
    assert (report.leftovers, report.freed_bytes, report.exit_code) == ((), 0, 0)
    assert world.repository.objects == before


def test_what_a_dead_run_left_is_removed_and_unfinished_objects_too() -> None:
    world = World()
    good = backup(world.context).manifest
    world.repository.put(f"{DEAD}/parts/data/x.copy.zst", [b"half"])
    world.repository.unfinished.add(f"{DEAD}/parts/data/.unfinished")
    report = repaired(world)
    assert fates(report) == {DEAD: Fate.REMOVED}
    assert (report.freed_bytes, report.unfinished_puts) == (4, 1)
    assert all(key.startswith(good.backup_id) for key in world.repository.objects)


def test_a_dry_run_tells_the_same_and_removes_nothing() -> None:
    world = World()
    world.repository.put(f"{DEAD}/parts/x.copy.zst", [b"half"])
    before = dict(world.repository.objects)
    with world.guard.hold("shop", deadline=None):
        report = repaired(world, dry_run=True)
    assert fates(report) == {DEAD: Fate.REMOVED}
    assert world.repository.objects == before


def test_what_can_be_resumed_is_kept_while_the_job_says_so() -> None:
    world = World(
        table("orders", "1,ann"),
        table("zz_last", "1", "2", fails_with=BackupFailed("cannot read: cut off")),
    )
    world.workers = 1
    world.resumable = True
    with pytest.raises(HoldfastError):
        backup(world.context)
    report = repaired(world)
    assert list(fates(report).values()) == [Fate.KEPT]
    assert "holdfast backup shop --resume" in report.leftovers[0].because
    world.resumable = False
    assert list(fates(repaired(world)).values()) == [Fate.REMOVED]
    # The record of the failure is no leftover: `list` shows it until a good backup came after.
    assert [key.rpartition("/")[2] for key in world.repository.objects] == ["failed.json"]


def test_what_lies_beside_a_backup_without_being_of_it_is_removed() -> None:
    world = World()
    manifest = backup(world.context).manifest
    world.repository.put(f"{manifest.backup_id}/parts/data/stray.zst", [b"?"])
    world.repository.put(f"{manifest.backup_id}/pruned", [b"a prune died before the manifest"])
    report = repaired(world)
    assert fates(report) == {manifest.backup_id: Fate.REMOVED}
    assert report.leftovers[0].objects == 2
    assert verify(world.reader, manifest.backup_id, workers=1).bad == ()


def test_what_a_backup_lacks_is_told_and_nothing_of_it_is_removed() -> None:
    world = World()
    manifest = backup(world.context).manifest
    world.repository.delete(manifest.parts[0].key)
    before = dict(world.repository.objects)
    report = repaired(world)
    assert fates(report) == {manifest.backup_id: Fate.DAMAGED}
    assert report.leftovers[0].because == "1 parts are not there"
    assert report.exit_code == 31
    assert world.repository.objects == before


def test_a_damaged_manifest_is_for_a_person_to_judge() -> None:
    world = World()
    manifest = backup(world.context).manifest
    world.repository.flip_bit(f"{manifest.backup_id}/manifest.json", at=200)
    before = dict(world.repository.objects)
    assert fates(repaired(world)) == {manifest.backup_id: Fate.DAMAGED}
    assert world.repository.objects == before


def test_a_blob_without_a_backup_goes_after_its_grace_time() -> None:
    world = World()
    world.blob_grace = timedelta(hours=1)
    backup(world.context)
    world.repository.put("shop/blobs/ab/abcd.zst", [b"value"])
    assert fates(repaired(world)) == {}
    world.clock.advance(timedelta(hours=1))
    assert fates(repaired(world)) == {"shop/blobs": Fate.REMOVED}
    assert "shop/blobs/ab/abcd.zst" not in world.repository.objects


def test_nothing_is_repaired_while_a_run_is_under_way() -> None:
    world = World()
    with world.guard.hold("shop", deadline=None), pytest.raises(RunInFlight):
        repaired(world)


def held_by_dead_runs(world: World, *names: str) -> FakeHolder:
    """Somebody who holds sessions that runs of the job have begun, and not ended."""
    holder = FakeHolder()
    for name in names:
        holder.begin(HeldKind.SNAPSHOT, label=RUN_LABEL, fast=True).session_id = name
    world.sessions = holder
    return holder


def test_sessions_of_runs_that_nobody_goes_on_with_are_ended() -> None:
    world = World()
    holder = held_by_dead_runs(world, "ab", "cd")
    assert fates(repaired(world, dry_run=True)) == {
        "session ab": Fate.REMOVED,
        "session cd": Fate.REMOVED,
    }
    assert holder.open_sessions == 2
    assert list(fates(repaired(world)).values()) == [Fate.REMOVED, Fate.REMOVED]
    assert holder.open_sessions == 0
    assert fates(repaired(world)) == {}


def test_a_session_that_can_be_gone_on_with_is_kept() -> None:
    world = World(
        table("orders", "1,ann"),
        table("zz_last", "1", "2", fails_with=BackupFailed("cannot read: cut off")),
    )
    world.workers = 1
    world.resumable = True
    with pytest.raises(HoldfastError):
        backup(world.context)
    (unfinished,) = world.journal.unfinished("shop")
    holder = held_by_dead_runs(world, unfinished.snapshot, "other")
    repaired(world)
    assert holder.left() == [unfinished.snapshot]
    world.resumable = False
    repaired(world)
    assert holder.left() == []


def test_a_holder_that_cannot_be_asked_keeps_nothing_from_being_repaired() -> None:
    world = World()
    world.sessions = Deaf()
    world.repository.put(f"{DEAD}/parts/x.copy.zst", [b"half"])
    assert fates(repaired(world)) == {DEAD: Fate.REMOVED}


class Deaf(FakeHolder):
    def left(self) -> Sequence[str]:
        raise SessionDaemonUnreachable("cannot ask the session daemon: Connection refused")
