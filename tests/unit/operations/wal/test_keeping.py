"""Gaps in archived WAL are found by verify, and prune removes what no kept backup needs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.places import manifest_key
from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.errors import ManifestInvalid, RepositoryReadOnly
from holdfast.model.proof import Proof
from holdfast.model.retention import Policy
from holdfast.operations.verify.scrub import reread
from holdfast.operations.wal.push import push
from tests.support.memory_cluster import DataDirectory, MemoryCluster, archiving, name


@pytest.fixture
def cluster(tmp_path: Path) -> MemoryCluster:
    return MemoryCluster(tmp_path)


def test_wal_that_follows_a_backup_has_no_gap(cluster: MemoryCluster) -> None:
    made = cluster.back_up(2, 3)
    cluster.archive(2, 3, 4, 5)
    assert cluster.problems(made) == []


def test_missing_segments_are_named_with_the_backup_that_needs_them(cluster: MemoryCluster) -> None:
    old, new = cluster.back_up(2, 3, days_ago=1), cluster.back_up(7, 8)
    cluster.archive(2, 3, 6, 7, 8)
    assert cluster.problems(old) == [f"wal {name(4)} to {name(5)}"]
    assert cluster.problems(new) == []
    report = reread(cluster.job.reader, "shop", budget=timedelta(minutes=1), workers=1)
    assert [(backup_id, bad.name) for backup_id, bad in report.bad] == [
        (old.backup_id, f"wal {name(4)} to {name(5)}")
    ]
    assert report.exit_code == 31


@pytest.mark.parametrize("left", [None, b""])
def test_a_record_whose_file_is_gone_or_empty_is_of_no_use(
    cluster: MemoryCluster, left: bytes | None
) -> None:
    made = cluster.back_up(2, 3)
    cluster.archive(2, 3, 4, 5, 6)
    objects = cluster.job.repository.objects
    (content,) = (
        key for key in objects if f"/{name(5).lower()}/" in key and "manifest.json" not in key
    )
    del objects[content]
    if left is not None:
        objects[content] = left
    assert cluster.problems(made) == [f"wal {name(5)}"]


def test_what_a_backup_holds_itself_need_not_be_archived(cluster: MemoryCluster) -> None:
    made = cluster.back_up(2, 3)
    cluster.archive(4, 5)
    assert cluster.problems(made) == []


def test_where_nothing_is_archived_nothing_is_missing(cluster: MemoryCluster) -> None:
    assert cluster.problems(cluster.back_up(2, 3)) == []


def test_a_gap_before_the_timeline_that_continues_is_found(cluster: MemoryCluster) -> None:
    made = cluster.back_up(2, 2)
    cluster.archive(2, 3)
    cluster.archive(6, 7, timeline=2)
    push(archiving(cluster.job.repository), cluster.server.branch(2, "1\t0/580000\tno target"))
    assert cluster.problems(made) == [f"wal {name(4)}", f"wal {name(5, timeline=2)}"]


def test_wal_older_than_the_oldest_kept_backup_goes_and_no_other(cluster: MemoryCluster) -> None:
    cluster.job.retention = Policy(last=1)
    cluster.back_up(2, 3, days_ago=1)
    kept = cluster.back_up(5, 6)
    cluster.archive(1, 2, 3, 4, 5, 6, 7)
    planned = cluster.prune(dry_run=True)
    assert len(cluster.archived()) == 7
    report = cluster.prune()
    assert cluster.archived() == [name(5), name(6), name(7)]
    assert report.wal == planned.wal
    (told,) = report.wal
    assert (told.files, told.first_kept) == (4, name(5))
    assert kept.backup_id in told.because
    assert report.freed_bytes >= told.freed_bytes > 0
    assert cluster.problems(kept) == []
    assert cluster.prune().wal[0].files == 0


def test_other_timelines_and_histories_are_judged_by_the_same_count(cluster: MemoryCluster) -> None:
    cluster.back_up(5, 6)
    cluster.archive(3, 4, 5)
    cluster.archive(4, 5, 6, timeline=2)
    push(archiving(cluster.job.repository), cluster.server.branch(2, "1\t0/400000\tx"))
    cluster.prune()
    assert cluster.archived() == [name(5), "00000002.history", name(5, 2), name(6, 2)]


def test_nothing_goes_where_it_is_not_known_what_a_backup_needs(cluster: MemoryCluster) -> None:
    cluster.archive(1, 2, 3)
    cluster.prune()
    old, new = cluster.back_up(2, 2, days_ago=1), cluster.back_up(3, 3)
    cluster.job.retention = Policy(last=2)
    key = manifest_key(old.backup_id)
    whole = cluster.job.repository.objects[key]
    cluster.job.repository.objects[key] = whole[:-9]
    cluster.prune()
    silent = replace(old, proof=Proof())
    del cluster.job.repository.objects[key]
    Catalog(cluster.job.repository).commit(silent)
    cluster.prune()
    assert cluster.archived() == [name(1), name(2), name(3)]
    assert cluster.problems(new) == []


def test_nothing_goes_where_the_parent_of_a_backup_is_not_there(cluster: MemoryCluster) -> None:
    cluster.archive(1, 2, 3)
    base, changes = cluster.back_up(1, 1, days_ago=1), cluster.back_up(3, 3)
    cluster.job.retention = Policy(last=2)
    objects = cluster.job.repository.objects
    del objects[manifest_key(changes.backup_id)]
    Catalog(cluster.job.repository).commit(
        replace(changes, proof=replace(changes.proof, parent=base.backup_id))
    )
    manifest = objects.pop(manifest_key(base.backup_id))
    cluster.prune()
    assert cluster.archived() == [name(1), name(2), name(3)]
    objects[manifest_key(base.backup_id)] = manifest
    cluster.prune()
    assert cluster.archived() == [name(1), name(2), name(3)]


def test_the_wal_of_a_cluster_without_a_backup_stays(
    cluster: MemoryCluster, tmp_path: Path
) -> None:
    upgraded = DataDirectory(tmp_path / "upgraded", cluster=78)
    push(archiving(cluster.job.repository), upgraded.finish(name(1)))
    cluster.back_up(5, 6)
    cluster.archive(4, 5)
    cluster.prune()
    assert cluster.archived() == [name(5), name(1)]


def test_what_the_store_has_locked_stays_and_is_told(cluster: MemoryCluster) -> None:
    cluster.back_up(5, 6)
    cluster.archive(3, 4, 5)
    refusal = RepositoryReadOnly("cannot delete: it is locked")
    cluster.job.repository.refuse_deletes_with = refusal
    report = cluster.prune()
    (told,) = report.wal
    assert (told.files, told.freed_bytes, told.refused) == (0, 0, 2)
    assert report.exit_code == RepositoryReadOnly.exit_code
    cluster.job.repository.refuse_deletes_with = None
    assert cluster.prune().wal[0].files == 2


def test_an_upload_that_came_to_nothing_goes_with_its_time(cluster: MemoryCluster) -> None:
    cluster.back_up(5, 6)
    cluster.archive(5)
    orphan = f"shop.wal/77/00000001/{name(3).lower()}/0123.zst"
    cluster.job.repository.objects[orphan] = b"half"
    cluster.prune()
    assert cluster.archived() == [name(5)]
    assert orphan not in cluster.job.repository.objects


def foreign(cluster: MemoryCluster, place: str, *, of: str, size_bytes: int) -> None:
    """A record like that of `of`, for a segment of another size, under another key."""
    archive = WalArchive(cluster.job.repository, "shop")
    record = archive.find("77", of)
    key = record.part.key.replace(of.lower(), place.lower())
    part = replace(record.part, plain_bytes=size_bytes, key=key)
    cluster.job.repository.objects[key] = b"something"
    archive.commit(replace(record, name=place, part=part))


@pytest.mark.parametrize("place", [name(0xFFF), name(0)])
def test_one_foreign_record_makes_no_other_segment_look_old(
    cluster: MemoryCluster, place: str
) -> None:
    """With segments of 16 MiB instead of 1 MiB those that a backup needs lie before its start."""
    cluster.back_up(0x40, 0x41)
    cluster.archive(*range(0x3E, 0x48))
    foreign(cluster, place, of=name(0x40), size_bytes=16 << 20)
    (told,) = cluster.prune().wal
    kept = set(cluster.archived())
    assert {name(number) for number in range(0x40, 0x48)} <= kept
    assert place in kept
    assert name(0x3E) not in kept
    assert told.unproven == (place == name(0))


def test_what_is_archived_far_away_holds_nobody_up(cluster: MemoryCluster) -> None:
    made = cluster.back_up(2, 3)
    cluster.archive(2, 3, 4)
    foreign(cluster, f"{1:08X}{0xFFFFFFFF:08X}{0xFFF:08X}", of=name(4), size_bytes=1 << 20)
    (gap,) = cluster.problems(made)
    assert gap == f"wal {name(5)} to 00000001FFFFFFFF00000FFE"


@pytest.mark.parametrize("size_bytes", [0, 1, 3 << 20, 1 << 40])
def test_a_record_of_a_segment_of_no_such_size_is_damaged_and_hides_no_other(
    cluster: MemoryCluster, size_bytes: int
) -> None:
    made = cluster.back_up(2, 3)
    cluster.archive(2, 3, 4)
    foreign(cluster, name(5), of=name(4), size_bytes=size_bytes)
    assert cluster.problems(made) == []
    with pytest.raises(ManifestInvalid, match=f"'shop.wal/77/.*{name(5).lower()}/manifest.json'"):
        WalArchive(cluster.job.repository, "shop").find("77", name(5))
    assert cluster.prune().wal[0].files == 0
