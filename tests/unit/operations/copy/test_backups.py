"""Copies are whole or not there, go on where they were, and never believe a name."""

from __future__ import annotations

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.model.errors import ObjectMissing, RepositoryUnreachable, RunInFlight, VerifyFailed
from holdfast.operations.backup.job import backup
from holdfast.operations.context import CopyContext
from holdfast.operations.copy.backups import CopiedBackup, copy
from holdfast.operations.verify.full import verify
from tests.fakes.progress import FakeProgress
from tests.fakes.repository import MemoryRepository
from tests.support.worlds import World


@pytest.fixture
def world() -> World:
    made = World()
    backup(made.context)
    return made


@pytest.fixture
def offsite() -> MemoryRepository:
    return MemoryRepository()


def context(world: World, offsite: MemoryRepository) -> CopyContext:
    return CopyContext(
        source=world.repository,
        target=offsite,
        believed=world.repository,
        guard=world.guard,
        at_once=3,
    )


def copied(world: World, offsite: MemoryRepository) -> CopiedBackup:
    (only,) = copy("shop", context(world, offsite), FakeProgress()).backups
    return only


def parts(repository: MemoryRepository) -> list[str]:
    return sorted(key for key in repository.objects if "/parts/" in key)


def test_a_copy_is_byte_by_byte_what_was_copied_and_verifies(
    world: World, offsite: MemoryRepository
) -> None:
    done = copied(world, offsite)
    assert offsite.objects == world.repository.objects
    assert done.sent == len(parts(offsite))
    assert verify(world.reader_of(offsite), "shop/latest", workers=1).exit_code == 0


def test_a_second_copy_sends_nothing(world: World, offsite: MemoryRepository) -> None:
    copied(world, offsite)
    again = copied(world, offsite)
    assert again.was_there
    assert again.sent == 0


def test_the_manifest_comes_last(world: World, offsite: MemoryRepository) -> None:
    offsite.refuse_key_with = ("manifest.json", RepositoryUnreachable("gone"))
    with pytest.raises(RepositoryUnreachable):
        copied(world, offsite)
    assert parts(offsite) == parts(world.repository)
    assert Catalog(offsite).survey("shop").manifests == ()


def test_a_copy_goes_on_and_replaces_what_only_has_the_right_name(
    world: World, offsite: MemoryRepository
) -> None:
    copied(world, offsite)
    names = parts(offsite)
    offsite.objects = {key: offsite.objects[key] for key in names}
    truncated, flipped = names[0], names[1]
    offsite.objects[truncated] = offsite.objects[truncated][:-1]
    offsite.flip_bit(flipped)
    done = copied(world, offsite)
    assert (done.sent, done.replaced, done.found) == (2, 2, len(names) - 2)
    assert offsite.objects == world.repository.objects


def test_a_part_that_is_damaged_at_the_source_is_not_copied_and_spares_other_backups(
    world: World, offsite: MemoryRepository
) -> None:
    damaged = parts(world.repository)[0]
    world.repository.flip_bit(damaged)
    orphan = "shop/20200101T000000Z-deadbeef/parts/data/x.copy.zst"
    offsite.objects[orphan] = b"left by an earlier copy"
    backup(world.context)
    report = copy("shop", context(world, offsite), FakeProgress())
    newer, older = report.backups
    assert newer.problem == ""
    assert f"cannot copy '{damaged}'" in older.problem
    assert report.exit_code == older.exit_code == VerifyFailed.exit_code
    assert [each.backup_id for each in Catalog(offsite).survey("shop").manifests] == [
        newer.backup_id
    ]
    assert damaged not in offsite.objects
    assert orphan in offsite.objects


def test_a_part_that_is_missing_at_the_source_is_told_with_the_backup(
    world: World, offsite: MemoryRepository
) -> None:
    world.repository.delete(parts(world.repository)[0])
    done = copied(world, offsite)
    assert done.exit_code == VerifyFailed.exit_code
    assert "No such file" in done.problem
    with pytest.raises(ObjectMissing):
        offsite.stat(f"{done.backup_id}/manifest.json")


def test_orphans_are_removed_only_after_everything_succeeded(
    world: World, offsite: MemoryRepository
) -> None:
    orphan = "shop/20200101T000000Z-deadbeef/parts/data/x.copy.zst"
    offsite.objects[orphan] = b"left by a copy of a backup that was pruned since"
    offsite.refuse_puts_with = RepositoryUnreachable("gone")
    with pytest.raises(RepositoryUnreachable):
        copied(world, offsite)
    assert orphan in offsite.objects
    offsite.refuse_puts_with = None
    report = copy("shop", context(world, offsite), FakeProgress())
    assert report.swept == ("shop/20200101T000000Z-deadbeef",)
    assert orphan not in offsite.objects


def test_another_backup_of_the_same_name_is_never_touched(
    world: World, offsite: MemoryRepository
) -> None:
    copied(world, offsite)
    (manifest,) = [key for key in offsite.objects if key.endswith("manifest.json")]
    offsite.objects[manifest] += b" "
    before = dict(offsite.objects)
    done = copied(world, offsite)
    assert "another backup of that name" in done.problem
    assert offsite.objects == before


def test_a_copy_waits_for_nobody_who_owns_the_job(world: World, offsite: MemoryRepository) -> None:
    with world.guard.hold("shop", deadline=None), pytest.raises(RunInFlight):
        copied(world, offsite)
    assert offsite.objects == {}
