"""Verification finds every way in which a stored part can be wrong, and names the part."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.model.backup import Manifest
from holdfast.model.errors import BackupNotFound, RepositoryUnreachable
from holdfast.operations.backup.job import backup
from holdfast.operations.verify.backup import VerifyReport, verify
from tests.fakes.repository import MemoryRepository
from tests.support.memory_job import MemoryJob


def verified(job: MemoryJob) -> VerifyReport:
    return verify(job.reader, "shop/latest", workers=2)


def test_a_backup_just_made_is_good() -> None:
    job = MemoryJob()
    manifest = backup(job.context).manifest
    report = verified(job)
    assert (report.bad, report.exit_code, report.parts) == ((), 0, 3)
    assert report.plain_bytes == manifest.plain_bytes


def every_byte(manifest: Manifest) -> list[tuple[str, int]]:
    return [(part.key, at) for part in manifest.parts for at in range(part.stored_bytes)]


def test_one_flipped_bit_at_any_place_of_any_part_is_found_and_the_part_named() -> None:
    job = MemoryJob()
    manifest = backup(job.context).manifest
    names = {part.key: part.name for part in manifest.parts}
    for key, at in every_byte(manifest):
        job.repository.flip_bit(key, at=at)
        report = verified(job)
        assert [bad.name for bad in report.bad] == [names[key]], f"byte {at} of {key}"
        assert report.exit_code == 31
        job.repository.flip_bit(key, at=at)
    assert verified(job).bad == ()


def _truncate(repository: MemoryRepository, key: str) -> None:
    repository.objects[key] = repository.objects[key][:-1]


def _empty(repository: MemoryRepository, key: str) -> None:
    repository.objects[key] = b""


def _append(repository: MemoryRepository, key: str) -> None:
    repository.objects[key] += b"more"


def _remove(repository: MemoryRepository, key: str) -> None:
    repository.delete(key)


@pytest.mark.parametrize("damage", [_truncate, _empty, _append, _remove])
def test_parts_cut_short_emptied_grown_or_lost_are_found(
    damage: Callable[[MemoryRepository, str], None],
) -> None:
    job = MemoryJob()
    manifest = backup(job.context).manifest
    damage(job.repository, manifest.parts[0].key)
    report = verified(job)
    assert [bad.name for bad in report.bad] == [manifest.parts[0].name]
    assert manifest.parts[0].name in report.bad[0].problem


def test_two_parts_swapped_are_both_found() -> None:
    job = MemoryJob()
    one, other, _ = backup(job.context).manifest.parts
    objects = job.repository.objects
    objects[one.key], objects[other.key] = objects[other.key], objects[one.key]
    assert sorted(bad.name for bad in verified(job).bad) == sorted([one.name, other.name])


def test_a_backup_that_is_not_there_cannot_be_verified() -> None:
    with pytest.raises(BackupNotFound):
        verified(MemoryJob())


def test_a_store_that_is_gone_is_said_to_be_gone() -> None:
    job = MemoryJob()
    backup(job.context)
    job.repository.refuse_all_with = RepositoryUnreachable("cannot list: not mounted")
    with pytest.raises(RepositoryUnreachable):
        verified(job)
