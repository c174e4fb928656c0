"""Pruning carries out the printed plan and nothing else."""

from __future__ import annotations

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.errors import RunInFlight
from holdfast.operations.backup import backup
from holdfast.operations.prune import PruneReport, prune
from tests.unit.operations.worlds import World


def pruned(world: World, *, dry_run: bool = False) -> PruneReport:
    return prune(world.repository, world.guard, world.plugs.job, dry_run=dry_run)


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
