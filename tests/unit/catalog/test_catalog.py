"""A backup is listed only if it has a manifest."""

from __future__ import annotations

from datetime import timedelta

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.model.errors import AlreadyStored, BackupNotFound
from tests.fakes.repository import MemoryRepository
from tests.support.manifests import manifest

OLD = manifest("20261101T020000Z-00000001", age=timedelta(days=19))
# Its name sorts before the older one's, as after a clock was set back.
NEW = manifest("20261001T020000Z-00000002")


def catalog_with(*manifests: object) -> tuple[Catalog, MemoryRepository]:
    repository = MemoryRepository()
    catalog = Catalog(repository)
    for each in (OLD, NEW):
        if each in manifests:
            catalog.commit(each)
            repository.put(f"{each.backup_id}/parts/data/x.copy.zst", [b"x"])
    return catalog, repository


def test_the_newest_snapshot_comes_first_whatever_the_names_say() -> None:
    catalog, _ = catalog_with(OLD, NEW)
    assert [each.name for each in catalog.survey("shop").manifests] == [NEW.name, OLD.name]
    assert catalog.find("shop/latest") == NEW


def test_parts_without_a_manifest_are_no_backup() -> None:
    catalog, repository = catalog_with(OLD)
    repository.put("shop/20261120T020000Z-99999999/parts/data/x.copy.zst", [b"x"])
    assert [each.name for each in catalog.survey().manifests] == [OLD.name]
    with pytest.raises(BackupNotFound, match="no finished backup has this id"):
        catalog.find("shop/20261120T020000Z-99999999")


def test_sweeping_removes_what_dead_runs_left_and_nothing_else() -> None:
    catalog, repository = catalog_with(OLD, NEW)
    repository.put("shop/20261120T020000Z-99999999/parts/data/x.copy.zst", [b"x"])
    repository.put("other/20261120T020000Z-99999999/parts/data/x.copy.zst", [b"x"])
    before = set(repository.objects)
    assert catalog.sweep("shop") == ["shop/20261120T020000Z-99999999"]
    assert before - set(repository.objects) == {
        "shop/20261120T020000Z-99999999/parts/data/x.copy.zst"
    }


def test_a_damaged_manifest_does_not_hide_the_others() -> None:
    catalog, repository = catalog_with(OLD, NEW)
    repository.flip_bit(f"{NEW.backup_id}/manifest.json", at=200)
    survey = catalog.survey("shop")
    assert [each.name for each in survey.manifests] == [OLD.name]
    assert [each.backup_id for each in survey.damaged] == [NEW.backup_id]


def test_dropping_a_backup_leaves_the_other_whole() -> None:
    catalog, repository = catalog_with(OLD, NEW)
    catalog.drop(OLD)
    assert sorted(repository.objects) == [
        f"{NEW.backup_id}/manifest.json",
        f"{NEW.backup_id}/parts/data/x.copy.zst",
    ]


def test_a_manifest_is_never_replaced() -> None:
    catalog, _ = catalog_with(OLD)
    with pytest.raises(AlreadyStored):
        catalog.commit(OLD)


@pytest.mark.parametrize("wrong", ["shop", "shop/", "shop/x", "../etc/latest", "Shop/latest", ""])
def test_what_cannot_be_an_id_is_told_what_one_looks_like(wrong: str) -> None:
    with pytest.raises(BackupNotFound, match="an id looks like"):
        catalog_with()[0].find(wrong)


def test_the_latest_of_a_job_without_backups_is_told_how_to_make_one() -> None:
    with pytest.raises(BackupNotFound, match="has no finished backup") as caught:
        catalog_with()[0].find("shop/latest")
    assert caught.value.hint == "make one: holdfast backup shop"
