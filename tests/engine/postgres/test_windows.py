"""The windows of a real cluster, compared with what a restore reaches at both of their edges."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.archive import Archive, points
from tests.support.clusters import cluster
from tests.support.drills import drill_folder

MOMENT = timedelta(microseconds=1)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with cluster() as server:
        made = Archive(server, tmp_path)
        made.begin()
        yield made


def windows(archive: Archive) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = archive.installation.run("windows", "shop")["windows"]
    return found


def target(moment: str, *, later: timedelta = timedelta(0)) -> tuple[str, str]:
    return "--target-time", str(datetime.fromisoformat(moment) + later)


def reached(archive: Archive, backup: str, *options: str) -> list[int]:
    with archive.recovered(*options, backup=backup) as (back, told):
        assert told["recovery"]["wal_bytes"] > 0
        return points(back)


def refused(archive: Archive, backup: str, *options: str, code: int) -> str:
    with archive.recovered(*options, backup=backup, code=code) as (_, told):
        return str(told["error"])


def test_every_edge_of_a_window_is_reached_and_nothing_beyond_it(archive: Archive) -> None:
    older = archive.installation.run("backup", "shop")["backup"]
    archive.mark(1)
    archive.mark(2)
    archive.switch()
    archive.mark(3)
    lost = archive.switch()
    newer = archive.installation.run("backup", "shop")["backup"]
    archive.mark(4)
    archive.switch()
    assert [each["used_backups"] for each in windows(archive)] == [[older, newer]]
    archive.remove(lost)
    late, early = windows(archive)
    assert (early["gap"], late["gap"]) == (lost, None)
    assert ([*early["used_backups"]], [*late["used_backups"]]) == ([older], [newer])
    assert (early["exact"], late["exact"]) == (True, True)

    assert reached(archive, older, *target(early["begins"])) == []
    assert "is not consistent before" in refused(
        archive, older, *target(early["begins"], later=-MOMENT), code=73
    )
    assert reached(archive, older, *target(early["ends"], later=-MOMENT)) == [1, 2]
    beyond = refused(archive, older, *target(early["ends"]), code=32)
    assert "recovery ended before configured recovery target was reached" in beyond

    assert reached(archive, newer, *target(late["begins"])) == [1, 2, 3]
    assert reached(archive, newer, *target(late["ends"], later=-MOMENT)) == [1, 2, 3, 4]
    assert reached(archive, newer, "--target", "latest") == [1, 2, 3, 4]
    beyond = refused(archive, newer, *target(late["ends"]), code=32)
    assert "recovery ended before configured recovery target was reached" in beyond


def test_both_timelines_of_a_promotion_have_a_window(archive: Archive) -> None:
    made = archive.installation.run("backup", "shop")["backup"]
    archive.mark(1)
    archive.switch()
    lsn = archive.mark(2)
    archive.mark(3)
    archive.switch()
    promoted = ("--target-lsn", lsn, "--target-action", "promote")
    with archive.recovered(*promoted) as (back, _):
        assert points(back) == [1, 2]
        branch = archive.continued_by(back)
        branch.mark(9)
        branch.switch()
    newest, oldest = sorted(windows(archive), key=lambda each: -each["timeline"])
    assert (newest["timeline"], oldest["timeline"]) == (2, 1)
    assert reached(archive, made, *target(newest["ends"], later=-MOMENT)) == [1, 2, 9]
    current = ("--target-timeline", "current")
    last = target(oldest["ends"], later=-MOMENT)
    assert reached(archive, made, *last, *current) == [1, 2, 3]
    assert refused(archive, made, *target(newest["ends"]), code=32)
    assert refused(archive, made, *target(oldest["ends"]), *current, code=32)


def test_a_measured_drill_tells_how_long_a_restore_takes_before_it_begins(
    archive: Archive, tmp_path: Path
) -> None:
    archive.installation.run("backup", "shop")
    archive.mark(1)
    archive.switch()
    assert said(archive, tmp_path / "before").endswith("; no drill measured how long that takes")
    with drill_folder(archive.installation):
        (drill,) = archive.installation.run("drill", "shop")["drills"]
    (told,) = archive.installation.run("windows", "shop")["backups"]
    assert told["measured_by"] == drill["drill"]
    assert told["expected_seconds"] > 0
    line = said(archive, tmp_path / "after")
    assert "the recovery replays at most " in line
    assert "; restore and replay take about " in line
    assert line.endswith(f", by drill {drill['drill']}")


def said(archive: Archive, folder: Path) -> str:
    """What a restore says for people before it begins."""
    argv = ("restore", "shop/latest", "--to", f"file://{folder}", "--target", "latest")
    done = subprocess.run(
        archive.installation.argv(*argv), capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[0]
