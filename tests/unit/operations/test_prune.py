"""Pruning carries out the printed plan and nothing else."""

from __future__ import annotations

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.errors import LeaseLost, RunInFlight
from holdfast.operations.backup import backup
from holdfast.operations.prune import PruneReport, prune
from holdfast.operations.quick import quick
from holdfast.operations.verify import verify
from tests.unit.operations.worlds import World


def pruned(world: World, *, dry_run: bool = False) -> PruneReport:
    return prune(world.plugs, dry_run=dry_run)


def test_what_no_rule_keeps_is_removed_with_all_its_parts() -> None:
    world = World()
    made = [backup(world.plugs).manifest for _ in range(4)]
    report = pruned(world)
    assert [each.keep for each in report.verdicts] == [True, True, False, False]
    assert report.freed_bytes == made[0].stored_bytes + made[1].stored_bytes
    assert {key.split("/")[1] for key in world.repository.objects} == {
        made[2].name,
        made[3].name,
    }


def test_a_dry_run_says_the_same_and_removes_nothing() -> None:
    world = World()
    for _ in range(3):
        backup(world.plugs)
    before = dict(world.repository.objects)
    assert [each.keep for each in pruned(world, dry_run=True).verdicts] == [True, True, False]
    assert world.repository.objects == before


def test_a_damaged_manifest_is_reported_and_left_alone() -> None:
    world = World()
    made = [backup(world.plugs).manifest for _ in range(3)]
    world.repository.flip_bit(f"{made[0].backup_id}/manifest.json", at=200)
    report = pruned(world)
    assert [each.backup_id for each in report.damaged] == [made[0].backup_id]
    assert f"{made[0].backup_id}/manifest.json" in world.repository.objects
    assert len(Catalog(world.repository).survey("shop").manifests) == 2


def test_nothing_is_pruned_while_a_backup_runs() -> None:
    world = World()
    backup(world.plugs)
    with world.guard.hold("shop", deadline=None), pytest.raises(RunInFlight):
        pruned(world)


def test_the_newest_that_was_proven_good_is_kept_whatever_the_rules_say() -> None:
    world = World()
    made = [backup(world.plugs).manifest for _ in range(4)]
    verify(world.reader, made[0].backup_id, workers=1)
    report = pruned(world)
    assert [each.keep for each in report.verdicts] == [True, True, False, True]
    assert report.verdicts[-1].because == "the newest that was proven good is always kept"


def test_a_backup_known_to_be_damaged_takes_nobody_s_place() -> None:
    world = World()
    made = [backup(world.plugs).manifest for _ in range(4)]
    for manifest in made[2:]:
        world.repository.flip_bit(manifest.parts[0].key, at=2)
        verify(world.reader, manifest.backup_id, workers=1)
    assert all(each.keep for each in pruned(world).verdicts)


def test_what_the_store_refuses_to_delete_stays_listed_and_is_told() -> None:
    world = World()
    made = [backup(world.plugs).manifest for _ in range(3)]
    oldest = f"{made[0].backup_id}/manifest.json"
    world.repository.locked.add(oldest)
    report = pruned(world)
    assert [each.backup_id for each in report.refused] == [made[0].backup_id]
    assert (report.exit_code, report.freed_bytes) == (52, 0)
    assert quick(world.repository, made[0].backup_id).bad == ()
    assert not [key for key in world.repository.objects if key.endswith("/pruned")]
    world.repository.locked.clear()
    assert pruned(world).exit_code == 0
    assert len(Catalog(world.repository).survey("shop").manifests) == 2


def test_what_an_interrupted_prune_left_is_finished_by_the_next() -> None:
    world = World()
    made = [backup(world.plugs).manifest for _ in range(3)]
    world.repository.locked.add(made[0].parts[1].key)
    assert [each.backup_id for each in pruned(world).refused] == [made[0].backup_id]
    assert len(Catalog(world.repository).survey("shop").manifests) == 2
    world.repository.locked.clear()
    assert pruned(world).finished == (made[0].backup_id,)
    assert not [key for key in world.repository.objects if key.startswith(made[0].backup_id)]


def test_a_prune_that_lost_the_job_removes_nothing_more() -> None:
    world = World()
    for _ in range(3):
        backup(world.plugs)
    before = dict(world.repository.objects)
    world.guard.hold_given.lost = "another host has taken it over"
    with pytest.raises(LeaseLost):
        pruned(world)
    assert world.repository.objects == before
