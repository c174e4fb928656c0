"""Whether a backup and its WAL reach the wanted recovery target."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.model.backup import Manifest
from holdfast.model.errors import TargetNotEmpty, TargetOutOfReach, Unsupported
from holdfast.model.recovery import NO_TARGET, Recovery, RecoveryTarget, moment_of
from holdfast.operations.restore.recovery import WayAhead, require_reachable
from holdfast.operations.wal.push import push
from tests.support.manifests import manifest
from tests.support.memory_cluster import MemoryCluster, archiving, name
from tests.support.wal_writer import WalWriter

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def cluster(tmp_path: Path) -> MemoryCluster:
    return MemoryCluster(tmp_path)


def recovery(goal: RecoveryTarget, value: str = "", *, timeline: str = "latest") -> Recovery:
    return Recovery(goal=goal, value=value, timeline=timeline, restore_command="true %f %p")


def reach(cluster: MemoryCluster, backup: Manifest, wanted: Recovery) -> list[str]:
    way = require_reachable(cluster.job.repository, backup, wanted, clock=lambda: NOW)
    return list(way.notes)


@pytest.mark.parametrize(
    "wanted",
    [
        recovery(RecoveryTarget.LATEST),
        recovery(RecoveryTarget.IMMEDIATE),
        recovery(RecoveryTarget.LSN, "0/480000"),
        recovery(RecoveryTarget.TIME, "2026-11-20 12:00:00Z"),
        recovery(RecoveryTarget.NAME, "noon"),
    ],
)
def test_targets_behind_the_backup_are_reached_where_all_wal_is_there(
    cluster: MemoryCluster, wanted: Recovery
) -> None:
    made = cluster.back_up(2, 3)
    cluster.archive(4, 5)
    assert reach(cluster, made, wanted) == []


@pytest.mark.parametrize(
    ("wanted", "cause"),
    [
        (recovery(RecoveryTarget.LSN, "0/300000"), "ended at 0/300100"),
        (recovery(RecoveryTarget.TIME, "2026-11-20 01:00:00Z"), "ended at 2026-11-20 02:00:09"),
        (recovery(RecoveryTarget.TIME, "2026-11-22 01:00:00Z"), "in the future"),
        (recovery(RecoveryTarget.LSN, "0/900000"), f"{name(6)} to {name(8)}"),
        (recovery(RecoveryTarget.LATEST, timeline="4"), "to timeline 4"),
    ],
)
def test_others_are_refused_with_the_cause(
    cluster: MemoryCluster, wanted: Recovery, cause: str
) -> None:
    made = cluster.back_up(2, 3)
    cluster.archive(4, 5)
    with pytest.raises(TargetOutOfReach, match=cause):
        reach(cluster, made, wanted)


def test_the_hint_names_the_newest_backup_that_ended_before(cluster: MemoryCluster) -> None:
    cluster.back_up(1, 1, days_ago=2)
    older = cluster.back_up(2, 2, days_ago=1)
    newest = cluster.back_up(5, 5)
    cluster.archive(*range(1, 7))
    for wanted in (
        recovery(RecoveryTarget.LSN, "0/400000"),
        recovery(RecoveryTarget.TIME, "2026-11-19 12:00:00Z"),
    ):
        with pytest.raises(TargetOutOfReach) as raised:
            reach(cluster, newest, wanted)
        assert raised.value.hint == f"restore {older.backup_id}, which ended before"


def test_a_gap_is_refused_where_it_is_in_the_way_and_told_where_it_may_be(
    cluster: MemoryCluster,
) -> None:
    made = cluster.back_up(2, 3)
    cluster.archive(4, 6, 7)
    assert reach(cluster, made, recovery(RecoveryTarget.LSN, "0/500000")) == []
    assert reach(cluster, made, recovery(RecoveryTarget.IMMEDIATE)) == []
    for goal in (RecoveryTarget.TIME, RecoveryTarget.NAME):
        told = reach(cluster, made, recovery(goal, "2026-11-20 12:00:00Z"))
        assert told == [f"WAL is missing: {name(5)}"]
    for wanted in (recovery(RecoveryTarget.LATEST), recovery(RecoveryTarget.LSN, "0/680000")):
        with pytest.raises(TargetOutOfReach, match=name(5)):
            reach(cluster, made, wanted)


def test_the_way_leads_over_the_timelines_that_are_asked_for(cluster: MemoryCluster) -> None:
    made = cluster.back_up(2, 2, days_ago=1)
    cluster.archive(2, 3, 4, 5)
    cluster.archive(4, 6, timeline=2)
    push(archiving(cluster.job.repository), cluster.server.branch(2, "1\t0/480000\tno target"))
    assert reach(cluster, made, recovery(RecoveryTarget.LATEST, timeline="current")) == []
    with pytest.raises(TargetOutOfReach, match=name(5, timeline=2)):
        reach(cluster, made, recovery(RecoveryTarget.LATEST))
    later = cluster.back_up(5, 5)
    with pytest.raises(TargetOutOfReach, match="does not continue from this backup"):
        reach(cluster, later, recovery(RecoveryTarget.LATEST))


@pytest.mark.parametrize(
    ("prepare", "error"),
    [
        (lambda cluster: cluster.back_up(2, 3), TargetOutOfReach),
        (lambda _: manifest(), Unsupported),
    ],
)
def test_without_wal_there_is_no_way(
    cluster: MemoryCluster, prepare: Callable[[MemoryCluster], Manifest], error: type[Exception]
) -> None:
    with pytest.raises(error):
        reach(cluster, prepare(cluster), recovery(RecoveryTarget.LATEST))


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        (recovery(RecoveryTarget.LATEST), {}),
        (recovery(RecoveryTarget.IMMEDIATE), {"recovery_target": "immediate"}),
        (recovery(RecoveryTarget.LSN, "0/5"), {"recovery_target_lsn": "0/5"}),
    ],
)
def test_one_target_is_set_at_most_after_all_others_were_unset(
    wanted: Recovery, target: dict[str, str]
) -> None:
    settings = wanted.settings
    assert settings["archive_mode"] == "off"
    targets = [(name, settings[name]) for name in settings if name in NO_TARGET]
    unset = len(NO_TARGET) - len(target)
    assert [value for _, value in targets[:unset]] == [""] * unset
    assert dict(targets[unset:]) == target


@pytest.mark.parametrize("text", ["2026-11-21 18:00:00", "yesterday", ""])
def test_a_time_without_its_zone_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a time|time zone"):
        moment_of(text)


@pytest.mark.parametrize("left", [16, 48])
def test_a_tablespace_is_seen_though_its_record_continues_in_the_next_segment(
    cluster: MemoryCluster, tmp_path: Path, left: int
) -> None:
    used = tmp_path / "space"
    used.mkdir()
    (used / "precious").touch()
    wal = WalWriter(first=4)
    wal.fill_to(left)
    wal.tablespace(16500, str(used))
    wal.filler(100)
    made = cluster.back_up(2, 3)
    for number, content in enumerate(wal.segments()):
        path = cluster.server.finish(wal.name(number), is_ready=False)
        path.write_bytes(content)
        push(archiving(cluster.job.repository), path)
    wanted = recovery(RecoveryTarget.LATEST)
    way = require_reachable(cluster.job.repository, made, wanted, clock=lambda: NOW)
    assert way.wal is not None
    ahead = WayAhead(
        repository=cluster.job.repository,
        manifest=made,
        recovery=wanted,
        wal=way.wal,
        path=way.path,
    )
    with pytest.raises(TargetNotEmpty, match="16500"):
        ahead.require_free_folders(must_be_there=False)
