"""Copies are complete or absent, continue where they stopped, and trust no name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.model.errors import ObjectMissing, RepositoryUnreachable, RunInFlight, VerifyFailed
from holdfast.model.fingerprints import ONLY_SHA256
from holdfast.operations.backup.job import backup
from holdfast.operations.copy.backups import CopiedBackup, CopyContext, copy
from holdfast.operations.verify.backup import verify
from tests.fakes.progress import FakeProgress
from tests.fakes.repository import MemoryRepository
from tests.support.memory_job import MemoryJob
from tests.support.older_schemas import kept_in_schema_1


@pytest.fixture
def job() -> MemoryJob:
    made = MemoryJob()
    backup(made.context)
    return made


@pytest.fixture
def offsite() -> MemoryRepository:
    return MemoryRepository()


def context(job: MemoryJob, offsite: MemoryRepository) -> CopyContext:
    return CopyContext(
        source=job.repository,
        target=offsite,
        believed=job.repository,
        guard=job.guard,
        at_once=3,
    )


def copied(job: MemoryJob, offsite: MemoryRepository) -> CopiedBackup:
    (only,) = copy("shop", context(job, offsite), FakeProgress()).backups
    return only


def parts(repository: MemoryRepository) -> list[str]:
    return sorted(key for key in repository.objects if "/parts/" in key)


def test_a_copy_is_byte_by_byte_what_was_copied_and_verifies(
    job: MemoryJob, offsite: MemoryRepository
) -> None:
    done = copied(job, offsite)
    assert offsite.objects == job.repository.objects
    assert done.sent == len(parts(offsite))
    assert verify(job.reader_of(offsite), "shop/latest", workers=1).exit_code == 0


def test_a_second_copy_sends_nothing(job: MemoryJob, offsite: MemoryRepository) -> None:
    copied(job, offsite)
    again = copied(job, offsite)
    assert again.was_there
    assert again.sent == 0


def test_the_manifest_comes_last(job: MemoryJob, offsite: MemoryRepository) -> None:
    offsite.refuse_key_with = ("manifest.json", RepositoryUnreachable("gone"))
    with pytest.raises(RepositoryUnreachable):
        copied(job, offsite)
    assert parts(offsite) == parts(job.repository)
    assert Catalog(offsite).survey("shop").manifests == ()


def test_a_copy_continues_and_replaces_objects_that_only_have_the_right_name(
    job: MemoryJob, offsite: MemoryRepository
) -> None:
    copied(job, offsite)
    names = parts(offsite)
    offsite.objects = {key: offsite.objects[key] for key in names}
    truncated, flipped = names[0], names[1]
    offsite.objects[truncated] = offsite.objects[truncated][:-1]
    offsite.flip_bit(flipped)
    done = copied(job, offsite)
    assert (done.sent, done.replaced, done.found) == (2, 2, len(names) - 2)
    assert offsite.objects == job.repository.objects


def test_a_part_that_is_damaged_at_the_source_is_not_copied_and_spares_other_backups(
    job: MemoryJob, offsite: MemoryRepository
) -> None:
    damaged = parts(job.repository)[0]
    job.repository.flip_bit(damaged)
    orphan = "shop/20200101T000000Z-deadbeef/parts/data/x.copy.zst"
    offsite.objects[orphan] = b"left by an earlier copy"
    backup(job.context)
    report = copy("shop", context(job, offsite), FakeProgress())
    newer, older = report.backups
    assert newer.problem == ""
    assert f"cannot copy '{damaged}'" in older.problem
    assert report.exit_code == older.exit_code == VerifyFailed.exit_code
    assert [each.backup_id for each in Catalog(offsite).survey("shop").manifests] == [
        newer.backup_id
    ]
    assert damaged not in offsite.objects
    assert orphan in offsite.objects


def test_a_part_without_a_stored_fingerprint_is_not_copied_as_verify_refuses_it_too(
    job: MemoryJob, offsite: MemoryRepository
) -> None:
    catalog = Catalog(job.repository)
    (known,) = catalog.survey("shop").manifests
    first, *others = known.parts
    catalog.withdraw(known)
    catalog.commit(replace(known, parts=(replace(first, stored_fingerprint=""), *others)))
    done = copied(job, offsite)
    assert f"cannot copy '{first.key}': the manifest records no fingerprint" in done.problem
    assert done.exit_code == verify(job.reader, "shop/latest", workers=1).exit_code != 0
    assert Catalog(offsite).survey("shop").manifests == ()


def test_a_part_that_is_missing_at_the_source_is_told_with_the_backup(
    job: MemoryJob, offsite: MemoryRepository
) -> None:
    job.repository.delete(parts(job.repository)[0])
    done = copied(job, offsite)
    assert done.exit_code == VerifyFailed.exit_code
    assert "No such file" in done.problem
    with pytest.raises(ObjectMissing):
        offsite.stat(f"{done.backup_id}/manifest.json")


def test_orphans_are_removed_only_after_everything_succeeded(
    job: MemoryJob, offsite: MemoryRepository
) -> None:
    orphan = "shop/20200101T000000Z-deadbeef/parts/data/x.copy.zst"
    offsite.objects[orphan] = b"left by a copy of a backup that was pruned since"
    offsite.refuse_puts_with = RepositoryUnreachable("gone")
    with pytest.raises(RepositoryUnreachable):
        copied(job, offsite)
    assert orphan in offsite.objects
    offsite.refuse_puts_with = None
    report = copy("shop", context(job, offsite), FakeProgress())
    assert report.swept == ("shop/20200101T000000Z-deadbeef",)
    assert orphan not in offsite.objects


def test_another_backup_of_the_same_name_is_never_touched(
    job: MemoryJob, offsite: MemoryRepository
) -> None:
    copied(job, offsite)
    (manifest,) = [key for key in offsite.objects if key.endswith("manifest.json")]
    offsite.objects[manifest] += b" "
    before = dict(offsite.objects)
    done = copied(job, offsite)
    assert "another backup of that name" in done.problem
    assert offsite.objects == before


def test_a_copy_waits_for_nobody_who_owns_the_job(
    job: MemoryJob, offsite: MemoryRepository
) -> None:
    with job.guard.hold("shop", deadline=None), pytest.raises(RunInFlight):
        copied(job, offsite)
    assert offsite.objects == {}


def test_a_backup_of_the_schema_before_is_copied_byte_by_byte_too(
    offsite: MemoryRepository,
) -> None:
    job = MemoryJob()
    job.fingerprints = ONLY_SHA256
    kept_in_schema_1(job.repository, backup(job.context).manifest)
    assert copied(job, offsite).exit_code == 0
    assert offsite.objects == job.repository.objects
    assert copied(job, offsite).was_there
    assert verify(job.reader_of(offsite), "shop/latest", workers=1).exit_code == 0
