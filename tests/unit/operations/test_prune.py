"""Pruning carries out the printed plan and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.locking.host_lock import this_process
from holdfast.locking.job_lock import LeasedGuard
from holdfast.locking.lease import Terms
from holdfast.model.backup import Buffer
from holdfast.model.errors import LeaseLost, RepositoryFull, RunInFlight
from holdfast.model.fingerprints import ONLY_SHA256
from holdfast.model.retention import Policy
from holdfast.operations.backup.job import backup
from holdfast.operations.prune import PruneContext, PruneReport, prune
from holdfast.operations.verify.backup import quick, verify
from holdfast.ports.repository import Stored
from tests.fakes.repository import MemoryRepository
from tests.support.memory_job import MemoryJob
from tests.support.older_schemas import kept_in_schema_1


def pruned(job: MemoryJob, *, dry_run: bool = False) -> PruneReport:
    return prune(job.prune_context, dry_run=dry_run)


def test_what_no_rule_keeps_is_removed_with_all_its_parts() -> None:
    job = MemoryJob()
    made = [backup(job.context).manifest for _ in range(4)]
    report = pruned(job)
    assert [each.keep for each in report.verdicts] == [True, True, False, False]
    assert report.freed_bytes == made[0].stored_bytes + made[1].stored_bytes
    assert {key.split("/")[1] for key in job.repository.objects} == {
        made[2].name,
        made[3].name,
    }


def test_backups_of_the_schema_before_are_judged_and_removed_as_all_others() -> None:
    job = MemoryJob()
    job.fingerprints = ONLY_SHA256
    made = [backup(job.context).manifest for _ in range(4)]
    kept_in_schema_1(job.repository, made[0], made[2])
    assert [each.keep for each in pruned(job).verdicts] == [True, True, False, False]
    assert {key.split("/")[1] for key in job.repository.objects} == {made[2].name, made[3].name}
    assert not verify(job.reader, made[2].backup_id, workers=1).bad


def test_a_dry_run_says_the_same_and_removes_nothing() -> None:
    job = MemoryJob()
    for _ in range(3):
        backup(job.context)
    before = dict(job.repository.objects)
    assert [each.keep for each in pruned(job, dry_run=True).verdicts] == [True, True, False]
    assert job.repository.objects == before


def test_a_damaged_manifest_is_reported_and_left_alone() -> None:
    job = MemoryJob()
    made = [backup(job.context).manifest for _ in range(3)]
    job.repository.flip_bit(f"{made[0].backup_id}/manifest.json", at=200)
    report = pruned(job)
    assert [each.backup_id for each in report.damaged] == [made[0].backup_id]
    assert f"{made[0].backup_id}/manifest.json" in job.repository.objects
    assert len(Catalog(job.repository).survey("shop").manifests) == 2


def test_nothing_is_pruned_while_a_backup_runs() -> None:
    job = MemoryJob()
    backup(job.context)
    with job.guard.hold("shop", deadline=None), pytest.raises(RunInFlight):
        pruned(job)


def test_the_newest_that_was_proven_good_is_kept_whatever_the_rules_say() -> None:
    job = MemoryJob()
    made = [backup(job.context).manifest for _ in range(4)]
    verify(job.reader, made[0].backup_id, workers=1)
    report = pruned(job)
    assert [each.keep for each in report.verdicts] == [True, True, False, True]
    assert report.verdicts[-1].because == "the newest verified backup is always kept"


def test_a_backup_known_to_be_damaged_takes_nobody_s_place() -> None:
    job = MemoryJob()
    made = [backup(job.context).manifest for _ in range(4)]
    for manifest in made[2:]:
        job.repository.flip_bit(manifest.parts[0].key, at=2)
        verify(job.reader, manifest.backup_id, workers=1)
    assert [each.keep for each in pruned(job).verdicts] == [True] * 4


def test_what_the_store_refuses_to_delete_stays_listed_and_is_told() -> None:
    job = MemoryJob()
    made = [backup(job.context).manifest for _ in range(3)]
    oldest = f"{made[0].backup_id}/manifest.json"
    job.repository.locked.add(oldest)
    report = pruned(job)
    assert [each.backup_id for each in report.refused] == [made[0].backup_id]
    assert (report.exit_code, report.freed_bytes) == (52, 0)
    assert quick(job.repository, made[0].backup_id).bad == ()
    assert not [key for key in job.repository.objects if key.endswith("/pruned")]
    job.repository.locked.clear()
    assert pruned(job).exit_code == 0
    assert len(Catalog(job.repository).survey("shop").manifests) == 2


def test_what_an_interrupted_prune_left_is_finished_by_the_next() -> None:
    job = MemoryJob()
    made = [backup(job.context).manifest for _ in range(3)]
    job.repository.locked.add(made[0].parts[1].key)
    assert [each.backup_id for each in pruned(job).refused] == [made[0].backup_id]
    assert len(Catalog(job.repository).survey("shop").manifests) == 2
    job.repository.locked.clear()
    assert pruned(job).finished == (made[0].backup_id,)
    assert not [key for key in job.repository.objects if key.startswith(made[0].backup_id)]


def test_a_prune_that_lost_the_job_removes_nothing_more() -> None:
    job = MemoryJob()
    for _ in range(3):
        backup(job.context)
    before = dict(job.repository.objects)
    job.guard.hold_given.lost = "another host has taken it over"
    with pytest.raises(LeaseLost):
        pruned(job)
    assert job.repository.objects == before


class SmallRepository(MemoryRepository):
    """Has room for so many objects."""

    def __init__(self, *, objects: int) -> None:
        super().__init__(free_bytes=1 << 30)
        self.room_for = objects

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        if len(self.objects) >= self.room_for:
            raise RepositoryFull(f"cannot store '{key}' in memory: No space left on device")
        return super().put(key, chunks)


def full_job() -> tuple[MemoryJob, SmallRepository]:
    """No room for another object, and a guard that wants to store one."""
    job = MemoryJob()
    store = SmallRepository(objects=1000)
    job.repository = store
    for _ in range(4):
        backup(job.context)
    store.room_for = len(store.objects)
    return job, store


def with_lease(job: MemoryJob) -> PruneContext:
    terms = Terms(me=this_process(), run_id="r", lease_seconds=60, clock=job.clock)
    return replace(job.prune_context, guard=LeasedGuard(job.guard, job.repository, terms))


def test_a_full_store_can_be_pruned_though_it_has_no_room_for_a_lease() -> None:
    job, store = full_job()
    report = prune(with_lease(job), dry_run=False)
    assert [each.keep for each in report.verdicts] == [True, True, False, False]
    assert len(Catalog(store).survey("shop").manifests) == 2
    assert len([key for key in store.objects if key.startswith("_leases/")]) == 1


def test_a_full_store_of_which_everything_is_to_stay_says_so() -> None:
    job, store = full_job()
    job.retention = Policy(last=9)
    before = dict(store.objects)
    with pytest.raises(RepositoryFull, match="its retention keeps every backup"):
        prune(with_lease(job), dry_run=False)
    assert store.objects == before
