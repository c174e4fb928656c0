"""How far the archived WAL of a job reaches, as its metrics tell it."""

from __future__ import annotations

from pathlib import Path

from holdfast.model.backup import Manifest
from holdfast.operations.wal.list import wal_reach
from holdfast.ports.host_state import WalReach
from tests.fakes.clock import START
from tests.support.manifests import manifest
from tests.support.memory_cluster import MemoryCluster, name


def reach(cluster: MemoryCluster, newest: Manifest) -> WalReach | None:
    return wal_reach(cluster.job.repository, newest, at=START)


def test_gaps_count_after_the_newest_backup_only(tmp_path: Path) -> None:
    cluster = MemoryCluster(tmp_path)
    older, newest = cluster.back_up(1, 1, days_ago=1), cluster.back_up(5, 6)
    cluster.archive(1, 3, 5, 6, 7)
    found = reach(cluster, newest)
    assert found is not None
    assert (found.job, found.at, found.gaps) == ("shop", START, 0)
    assert found.archived_at is not None
    of_older = reach(cluster, older)
    assert of_older is not None
    assert of_older.gaps == 2
    cluster.archive(9, 11)
    found = reach(cluster, newest)
    assert found is not None
    assert found.gaps == 2


def test_the_newest_segment_says_when_and_a_damaged_record_is_passed_over(tmp_path: Path) -> None:
    cluster = MemoryCluster(tmp_path)
    newest = cluster.back_up(1, 1)
    cluster.archive(1, 2)
    before = reach(cluster, newest)
    cluster.archive(3)
    after = reach(cluster, newest)
    assert before is not None
    assert after is not None
    store = cluster.job.repository
    (record,) = [key for key in store.objects if name(3).lower() in key and "manifest" in key]
    store.flip_bit(record, at=50)
    assert reach(cluster, newest) == before


def test_another_cluster_and_a_backup_of_rows_have_no_wal(tmp_path: Path) -> None:
    cluster = MemoryCluster(tmp_path)
    newest = cluster.back_up(1, 1)
    assert reach(cluster, newest) is None
    assert reach(cluster, manifest()) is None
