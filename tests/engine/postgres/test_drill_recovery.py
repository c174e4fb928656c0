"""`holdfast drill` of a cluster: it recovers as far as asked, and tells what keeps it from that."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.archive import Archive
from tests.support.cluster_drills import POINTS
from tests.support.clusters import cluster
from tests.support.drills import bad_rows, drill_folder, failed, killed_at, left_in


@pytest.fixture
def drills(tmp_path: Path) -> Iterator[Archive]:
    """A cluster whose WAL is archived, with a backup and one row since."""
    with cluster() as server:
        archive = Archive(server, tmp_path)
        archive.begin()
        with drill_folder(archive.installation):
            archive.installation.run("backup", "shop")
            archive.mark(1)
            yield archive


def test_the_command_measures_recovery_and_its_moment(drills: Archive) -> None:
    drills.installation.job["drill"]["checks"] = [
        {"sql": "SELECT max(at) FROM points", "newer_than": "1h", "name": "fresh"},
        {"sql": POINTS, "equals": "1,2"},
    ]
    drills.mark(2)
    ((last,),) = drills.server.ask("SELECT max(at) FROM points")
    drills.switch()
    (drill,) = drills.installation.run("drill", "shop", "--target", "latest")["drills"]
    assert (drill["outcome"], bad_rows(drill), drill["problem"]) == ("passed", [], None)
    names = {row["name"] for row in drill["rows"]}
    expected = {"fingerprints", "pg_verifybackup", "page checksums", "amcheck of 'postgres'"}
    assert expected <= names
    assert drill["seconds"]["recovery"] > 0
    assert drill["restore_seconds"] >= drill["seconds"]["recovery"]
    assert isinstance(last, datetime)
    reached = datetime.fromisoformat(drill["reached"])
    assert abs((reached - last).total_seconds()) < 5


def test_the_command_recovers_to_a_time(drills: Archive) -> None:
    wanted = datetime.fromisoformat(drills.time()).astimezone(UTC)
    drills.mark(2)
    drills.switch()
    drills.installation.job["drill"]["checks"] = [{"sql": POINTS, "equals": "1"}]
    arguments = ("--target-time", wanted.isoformat())
    (drill,) = drills.installation.run("drill", "shop", *arguments)["drills"]
    assert bad_rows(drill) == []
    assert datetime.fromisoformat(drill["reached"]) <= wanted


def test_a_missing_segment_fails_the_drill_by_a_row_of_its_own(drills: Archive) -> None:
    missing = drills.switch()
    drills.mark(2)
    drills.switch()
    drills.remove(missing)
    drill = failed(drills.installation)
    assert bad_rows(drill) == ["recovery"]
    assert missing in drill["problem"]
    assert drill["seconds"]["load"] == 0


def test_a_flipped_bit_in_a_file_of_the_cluster_fails_the_drill(drills: Archive) -> None:
    path = max(drills.installation.files(), key=lambda each: each.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    drill = failed(drills.installation)
    assert bad_rows(drill) == ["fingerprints"]


@pytest.mark.parametrize(
    "failpoint", ["drill-room-made", "restore-part-loaded", "drill-restored", "drill-recovered"]
)
def test_a_killed_drill_of_a_cluster_leaves_nothing_after_the_next_one(
    drills: Archive, failpoint: str
) -> None:
    drills.switch()
    killed_at(drills.installation, failpoint)
    folder = Path(drills.installation.job["drill"]["folder"])
    assert left_in(folder) != []
    document = drills.installation.run("drill", "shop")
    assert document["drills"][0]["outcome"] == "passed"
    assert left_in(folder) == []
