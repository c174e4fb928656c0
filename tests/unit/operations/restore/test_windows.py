"""From when to when a job's backups and WAL bring data back, and how long that takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.backup import Manifest
from holdfast.model.drill import DrillRecord, DrillSeconds, Outcome
from holdfast.model.recovery import Recovery, RecoveryTarget
from holdfast.operations.restore.recovery import require_reachable
from holdfast.operations.restore.windows import JobWindows, WindowsContext, forecast, windows
from holdfast.operations.wal.push import push
from tests.fakes.repository import MemoryRepository
from tests.support.manifests import manifest
from tests.support.memory_cluster import MemoryCluster, archiving, name
from tests.support.segments import MIB
from tests.support.wal_writer import WalWriter

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
# When `MemoryCluster.back_up` ends a backup of today.
ENDED = datetime(2026, 11, 20, 2, 0, 9, tzinfo=UTC)


@pytest.fixture
def cluster(tmp_path: Path) -> MemoryCluster:
    return MemoryCluster(tmp_path)


def commit(cluster: MemoryCluster, number: int, at: datetime | None, *, timeline: int = 1) -> None:
    """Archive segment `number` with one commit `at` that time, or with none."""
    wal = WalWriter(first=number)
    if at is not None:
        wal.commit(at)
    wal.switch()
    (content,) = wal.segments()
    path = cluster.server.finish(name(number, timeline), is_ready=False)
    # The timeline in the header may be the one before that in the name.
    path.write_bytes(content)
    push(archiving(cluster.job.repository), path)


def context(repository: MemoryRepository, drills: Sequence[DrillRecord] = ()) -> WindowsContext:
    manifests = Catalog(repository).survey("shop").manifests
    return WindowsContext(
        job="shop",
        repository=repository,
        summaries=[each.summary for each in manifests],
        drills=drills,
    )


def found(cluster: MemoryCluster, *drills: DrillRecord) -> JobWindows:
    return windows(context(cluster.job.repository, drills))


def drill(backup: Manifest, **values: object) -> DrillRecord:
    known: dict[str, object] = {
        "job": "shop",
        "name": "20261121T030000Z-00000001",
        "backup": backup.backup_id,
        "database": backup.server.database,
        "host": "db9",
        "version": "1",
        "began": NOON,
        "ended": NOON,
        "outcome": Outcome.PASSED,
        "plain_bytes": 50,
    }
    return DrillRecord(**(known | values))  # type: ignore[arg-type]  # a table of values


def test_a_window_lasts_from_the_end_of_a_backup_to_the_last_commit_in_its_wal(
    cluster: MemoryCluster,
) -> None:
    made = cluster.back_up(2, 3)
    cluster.archive(2, 3)
    commit(cluster, 4, NOON)
    commit(cluster, 5, None)
    told = found(cluster)
    (window,) = told.windows
    assert (window.begins, window.ends, window.gap) == (ENDED, NOON, "")
    (reach,) = told.reaches
    assert (reach.backup, reach.is_exact, reach.timeline) == (made.backup_id, True, 1)
    # From the start of the backup to the end of segment 5.
    assert reach.wal_bytes == 6 * MIB - (2 * MIB + 0x28)
    assert reach.lsn == "0/600000"
    assert reach.expected.seconds is None


def test_a_gap_ends_the_window_of_one_backup_and_a_later_backup_begins_another(
    cluster: MemoryCluster,
) -> None:
    older = cluster.back_up(1, 1, days_ago=1)
    commit(cluster, 1, NOON - timedelta(days=1))
    commit(cluster, 2, NOON - timedelta(hours=20))
    newer = cluster.back_up(4, 4)
    commit(cluster, 4, NOON)
    told = found(cluster)
    assert [(each.ends, each.gap) for each in told.windows] == [
        (NOON, ""),
        (NOON - timedelta(hours=20), name(3)),
    ]
    assert [each.backups for each in told.windows] == [(newer.backup_id,), (older.backup_id,)]
    assert told.windows[0].begins == ENDED


def test_backups_with_all_wal_in_between_share_one_window(cluster: MemoryCluster) -> None:
    older = cluster.back_up(1, 1, days_ago=1)
    for number in (1, 2, 3, 4):
        commit(cluster, number, NOON + timedelta(minutes=number))
    newer = cluster.back_up(3, 3)
    (window,) = found(cluster).windows
    assert window.backups == (older.backup_id, newer.backup_id)
    assert (window.begins, window.ends) == (ENDED - timedelta(days=1), NOON + timedelta(minutes=4))


def test_each_timeline_that_continues_from_a_backup_has_a_window(cluster: MemoryCluster) -> None:
    cluster.back_up(2, 2)
    commit(cluster, 2, None)
    commit(cluster, 3, NOON)
    commit(cluster, 4, NOON + timedelta(hours=1))
    push(archiving(cluster.job.repository), cluster.server.branch(2, "1\t0/380000\tno target"))
    commit(cluster, 3, NOON - timedelta(hours=1), timeline=2)
    assert {each.timeline: each.ends for each in found(cluster).windows} == {
        1: NOON + timedelta(hours=1),
        2: NOON - timedelta(hours=1),
    }


def test_a_timeline_that_a_later_one_contains_has_no_row(cluster: MemoryCluster) -> None:
    cluster.back_up(2, 2)
    commit(cluster, 2, None)
    push(archiving(cluster.job.repository), cluster.server.branch(2, "1\t0/380000\tno target"))
    commit(cluster, 3, NOON, timeline=2)
    assert [each.timeline for each in found(cluster).reaches] == [2]


def test_wal_that_cannot_be_read_ends_when_it_was_archived(cluster: MemoryCluster) -> None:
    cluster.back_up(2, 2)
    commit(cluster, 2, None)
    commit(cluster, 3, NOON)
    repository = cluster.job.repository
    (key,) = [
        each.key
        for each in repository.list("shop.wal")
        if name(3).lower() in each.key and not each.key.endswith("manifest.json")
    ]
    flipped = bytearray(repository.objects[key])
    flipped[len(flipped) // 2] ^= 1
    repository.objects[key] = bytes(flipped)
    (reach,) = found(cluster).reaches
    assert not reach.is_exact


def test_without_wal_a_backup_comes_back_to_its_own_moment_only(cluster: MemoryCluster) -> None:
    cluster.back_up(2, 3)
    told = found(cluster)
    assert told.windows == ()
    assert [(each.begins, each.ends, each.wal_bytes) for each in told.reaches] == [
        (ENDED, ENDED, 0)
    ]


def test_rows_come_back_as_of_their_snapshots_in_the_time_that_a_drill_measured(
    cluster: MemoryCluster,
) -> None:
    made = manifest()
    Catalog(cluster.job.repository).commit(made)
    assert [each.expected.seconds for each in found(cluster).reaches] == [None]
    seconds = DrillSeconds(prepare=90, fetch=1, load=6, indexes=3, checks=90)
    half = drill(made, plain_bytes=made.plain_bytes * 2, seconds=seconds)
    (reach,) = found(cluster, half).reaches
    assert (reach.begins, reach.ends) == (made.snapshot_at, made.snapshot_at)
    assert (reach.expected.seconds, reach.expected.drill) == (5.0, half.drill_id)
    failed = drill(made, outcome=Outcome.FAILED, seconds=seconds)
    assert [each.expected.seconds for each in found(cluster, failed).reaches] == [None]


def test_the_time_to_replay_is_scaled_by_the_wal_that_the_drill_replayed(
    cluster: MemoryCluster,
) -> None:
    made = cluster.back_up(2, 2)
    for number in (2, 3, 4, 5):
        commit(cluster, number, NOON + timedelta(minutes=number))
    archive = WalArchive(cluster.job.repository, "shop")
    first = archive.find("77", name(2)).archived_at
    seconds = DrillSeconds(load=10, recovery=2)
    record = drill(made, reached=first, seconds=seconds)
    (reach,) = found(cluster, record).reaches
    replayed = MIB - 0x28
    assert reach.wal_bytes == 4 * MIB - 0x28
    assert reach.expected.replay_seconds == pytest.approx(2 * reach.wal_bytes / replayed)


@pytest.mark.parametrize(
    ("goal", "value", "end"),
    [
        (RecoveryTarget.LATEST, "", 0x600000),
        (RecoveryTarget.LSN, "0/380000", 0x380000),
        (RecoveryTarget.NAME, "noon", 0x600000),
        # All segments were archived before that time.
        (RecoveryTarget.TIME, "2026-11-20 11:00:00Z", 0x600000),
    ],
)
def test_a_recovery_says_how_much_wal_it_replays(
    cluster: MemoryCluster, goal: RecoveryTarget, value: str, end: int
) -> None:
    made = cluster.back_up(2, 2)
    for number in (2, 3, 4, 5):
        commit(cluster, number, NOON)
    wanted = Recovery(goal=goal, value=value, restore_command="true")
    way = require_reachable(cluster.job.repository, made, wanted, clock=lambda: NOON)
    told = forecast(context(cluster.job.repository), made, wanted, way=way)
    assert told.wal_bytes == end - 0x200028


def test_a_backup_whose_manifest_was_damaged_or_pruned_since_it_was_listed_hides_no_other(
    cluster: MemoryCluster,
) -> None:
    made = [cluster.back_up(2, 2, days_ago=days) for days in (3, 2, 1)]
    listed = context(cluster.job.repository)
    cluster.job.repository.flip_bit(f"{made[0].backup_id}/manifest.json", at=200)
    Catalog(cluster.job.repository).discard(made[1].backup_id)
    told = windows(listed)
    assert [each.backup for each in told.reaches] == [made[2].backup_id]
    assert [each.backup_id for each in told.unusable] == [made[0].backup_id]
