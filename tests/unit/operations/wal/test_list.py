"""One cluster per job: another cluster under its name is refused until it is allowed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.host_state.kept_files import FileClusters
from holdfast.model.errors import ClusterChanged
from holdfast.operations.wal.list import require_cluster_of_backups
from holdfast.operations.wal.push import push
from tests.fakes.repository import MemoryRepository
from tests.support.memory_cluster import DataDirectory, MemoryCluster, archiving, name


def test_wal_of_a_new_cluster_is_refused_where_the_job_archives_another_one(
    tmp_path: Path,
) -> None:
    store = MemoryRepository()
    first = DataDirectory(tmp_path / "first")
    other = DataDirectory(tmp_path / "other", cluster=88)
    push(archiving(store), first.finish(name(1)))
    before = dict(store.objects)
    with pytest.raises(
        ClusterChanged, match="cluster 88 answers, but its archived WAL belongs to"
    ) as e:
        push(archiving(store), other.finish(name(1)))
    assert "system_identifier: 88" in e.value.hint
    assert store.objects == before
    push(archiving(store), first.finish(name(2)))


def test_a_cluster_that_somebody_has_named_takes_the_place_of_the_other_one(
    tmp_path: Path,
) -> None:
    store = MemoryRepository()
    first = DataDirectory(tmp_path / "first")
    other = DataDirectory(tmp_path / "other", cluster=88)
    push(archiving(store), first.finish(name(1)))
    context = archiving(store)
    context = replace(context, job=replace(context.job, cluster="88"))
    assert not push(context, other.finish(name(1))).was_there
    with pytest.raises(ClusterChanged, match="its system_identifier is 88"):
        push(context, first.finish(name(2)))
    # A cluster that was allowed once belongs to the job from then on.
    push(archiving(store), other.finish(name(2)))


def test_backups_say_whose_wal_belongs_to_them(tmp_path: Path) -> None:
    cluster = MemoryCluster(tmp_path)
    cluster.back_up(3, 4)
    store = cluster.job.repository
    other = DataDirectory(tmp_path / "other", cluster=88)
    with pytest.raises(ClusterChanged, match="its backups, such as 'shop/"):
        push(archiving(store), other.finish(name(1)))
    cluster.archive(3)


def test_the_newest_backup_counts_and_one_that_cannot_be_read_does_not(tmp_path: Path) -> None:
    cluster = MemoryCluster(tmp_path)
    cluster.back_up(3, 4, days_ago=1)
    newest = cluster.back_up(5, 6)
    job, store = archiving().job, cluster.job.repository
    require_cluster_of_backups(job, store, "77")
    with pytest.raises(ClusterChanged, match=newest.backup_id):
        require_cluster_of_backups(job, store, "88")
    store.flip_bit(f"{newest.backup_id}/manifest.json", at=200)
    with pytest.raises(ClusterChanged, match="20261119T"):
        require_cluster_of_backups(job, store, "88")
    require_cluster_of_backups(replace(job, cluster="88"), store, "88")
    require_cluster_of_backups(job, MemoryRepository(), "88")


def test_what_was_found_out_once_is_not_looked_up_for_each_segment(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "clusters"
    known = FileClusters(folder)
    assert "77" not in known
    context = replace(archiving(MemoryRepository()), clusters=known)
    push(context, DataDirectory(tmp_path / "data").finish(name(1)))
    assert "77" in FileClusters(folder)
    # Without a writable cache it is looked up again.
    (tmp_path / "file").write_text("")
    FileClusters(tmp_path / "file" / "clusters").add("77")
