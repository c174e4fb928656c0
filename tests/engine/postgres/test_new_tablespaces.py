"""Recoveries beside the running server write nothing into its tablespaces, even new ones."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.catalog.documents import wrapped
from holdfast.catalog.wal_archive import NAME, SCHEMA
from tests.engine.postgres.test_start import state_of
from tests.support.archive import Archive, points
from tests.support.clusters import Cluster, cluster, folder_for_cluster, started
from tests.support.waiting import until

ROWS = "SELECT count(*), sum(id) FROM treasure"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with cluster() as server:
        # Everything else that writes to a tablespace without a request.
        server.configure("autovacuum = off")
        made = Archive(server, tmp_path)
        made.begin()
        yield made


def new_space(server: Cluster, name: str = "young") -> Path:
    """A tablespace with a table in it."""
    place = server.folder / name
    place.mkdir()
    server.ask(f"CREATE TABLESPACE {name} LOCATION '{place}'")
    server.ask(f"CREATE TABLE treasure TABLESPACE {name} AS SELECT generate_series(1, 1000) AS id")
    return place


def test_a_tablespace_made_after_the_backup_is_refused_or_brought_to_another_folder(
    archive: Archive, tmp_path: Path
) -> None:
    archive.installation.run("backup", "shop")
    before, at = archive.mark(1), archive.time()
    archive.mark(2)
    place = new_space(archive.server)
    archive.mark(3)
    after, then = archive.mark(4), archive.time()
    archive.mark(5)
    archive.server.ask("CHECKPOINT")
    archive.switch()
    archive.server.ask("UPDATE treasure SET id = -id")
    archive.server.ask("CHECKPOINT")
    content = state_of(place)
    for target in (("--target", "latest"), ("--target-lsn", after), ("--target-time", then)):
        target_folder = tmp_path / "back"
        argv = ("restore", "shop/latest", "--to", f"file://{target_folder}", "--start", *target)
        told = archive.installation.run(*argv, code=13)
        assert f"in '{place}'" in told["error"]
        assert "?tablespaces=" in told["hint"]
        assert not target_folder.exists()
    # Earlier records of the same segment are replayed nevertheless.
    for target in (("--target-lsn", before), ("--target-time", at)):
        with archive.recovered(*target) as (back, _):
            assert points(back) == [1]
    with archive.recovered("--target", "latest", spaces=tmp_path / "spaces") as (back, _):
        assert points(back) == [1, 2, 3, 4, 5]
        assert back.ask(ROWS) == [(1000, 500500)]
        (link,) = (back.data / "pg_tblspc").iterdir()
        assert link.readlink() == tmp_path / "spaces" / link.name
        back.ask("CREATE TABLE more TABLESPACE young AS SELECT 1 AS id")
        back.ask("CHECKPOINT")
    assert state_of(place) == content
    assert archive.server.ask(ROWS) == [(1000, -500500)]


@pytest.mark.parametrize("target", ["latest", "lsn"])
def test_what_nobody_saw_before_the_start_stops_the_server_before_it_is_replayed(
    archive: Archive, target: str
) -> None:
    archive.installation.run("backup", "shop")
    archive.mark(1)
    place = new_space(archive.server)
    lsn = archive.mark(2)
    name = archive.switch()
    (record,) = archive.installation.repository.glob(f"shop.wal/*/*/{name.lower()}/manifest.json")
    body = json.loads(record.read_text())["file"]
    assert len(body["tablespaces"]) == 1
    # As if it had been archived after the check.
    record.write_bytes(wrapped(body | {"tablespaces": []}, schema=SCHEMA, name=NAME))
    content = state_of(place)
    options = ("--target", "latest") if target == "latest" else ("--target-lsn", lsn)
    with archive.recovered(*options, code=32) as (back, told):
        log = Path(f"{back.data}-start.log").read_text()
        expected = f"in '{place}', and that folder is in use"
        if target == "latest":
            assert expected in log
        else:
            assert "before configured recovery target was reached" in told["error"]
    assert state_of(place) == content


def test_a_tablespace_made_while_files_are_copied_comes_back_beside_the_living_one(
    archive: Archive,
) -> None:
    installation = archive.installation
    archive.server.ask(
        "CREATE TABLE filler AS SELECT repeat(md5(random()::text), 30) FROM"
        " generate_series(1, 8000)"
    )
    installation.job["max_rate"] = "4MB"
    with subprocess.Popen(
        installation.argv("backup", "shop"), stderr=subprocess.DEVNULL
    ) as running:
        until(lambda: any(path.suffix == ".zst" for path in installation.files()))
        place = new_space(archive.server)
        assert running.wait(120) == 0
    archive.server.ask("UPDATE treasure SET id = -id")
    archive.server.ask("CHECKPOINT")
    content = state_of(place)
    with folder_for_cluster() as folder:
        # By hand, without a recovery: it replays the WAL of the backup.
        back = Cluster(folder)
        installation.run("restore", "shop/latest", "--to", f"file://{back.data}")
        back.configure("archive_mode = off")
        with started(back):
            assert back.ask(ROWS) == [(1000, 500500)]
            back.ask("DELETE FROM treasure")
            back.ask("CHECKPOINT")
        (link,) = (back.data / "pg_tblspc").iterdir()
        assert link.readlink() == folder / "data-tablespaces" / link.name
    archive.mark(1)
    archive.switch()
    with archive.recovered("--target", "latest") as (back, _):
        assert points(back) == [1]
        assert back.ask(ROWS) == [(1000, -500500)]
    assert state_of(place) == content
