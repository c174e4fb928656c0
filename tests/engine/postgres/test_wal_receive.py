"""WAL from a real server over the replication protocol."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.archive import Archive, points
from tests.support.clusters import cluster
from tests.support.waiting import until

SLOT = "SELECT pg_create_physical_replication_slot('holdfast', true)"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with cluster() as server:
        made = Archive(server, tmp_path)
        made.server.ask("CREATE TABLE points (id int)")
        yield made


@contextmanager
def receiving(archive: Archive, *options: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        archive.installation.argv("wal", "receive", "shop", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            until(lambda: running.poll() is not None or is_received(archive))
            yield running
        finally:
            if running.poll() is None:
                running.send_signal(signal.SIGTERM)
            if running.stdout is not None and not running.stdout.closed:
                # Only shown where a test fails.
                sys.stdout.write("".join(running.communicate(timeout=60)))


def is_received(archive: Archive) -> bool:
    found = archive.server.ask(
        "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'holdfast-wal'"
    )
    return found == [(1,)]


def test_receiving_continues_after_a_stop_and_the_wal_brings_a_cluster_forward(
    archive: Archive,
) -> None:
    archive.server.ask(SLOT)
    with receiving(archive, "--slot", "holdfast") as running:
        archive.installation.run("backup", "shop")
        archive.mark(1)
        archive.switch()
        running.send_signal(signal.SIGTERM)
        told, _ = running.communicate(timeout=60)
        assert running.returncode == 0
        assert "stopped:" in told
    archive.mark(2)
    ((missed,),) = archive.server.ask("SELECT pg_walfile_name(pg_switch_wal())")
    archive.server.ask("CHECKPOINT")
    with receiving(archive, "--slot", "holdfast"):
        archive.mark(3)
        archive.switch()
        until(lambda: str(missed) in archive.names())
    assert [line["missing"] for line in archive.lines()] == [[]]
    assert archive.installation.run("verify", "shop/latest")["verified"] is True
    with archive.recovered("--target", "latest") as (back, _):
        assert points(back) == [1, 2, 3]


def test_a_slot_that_is_not_there_or_in_use_is_told_with_the_remedy(archive: Archive) -> None:
    argv = archive.installation.argv("wal", "receive", "shop", "--slot", "holdfast")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 72, done.stderr
    assert "slot 'holdfast'" in done.stderr
    assert "pg_create_physical_replication_slot('holdfast', true)" in done.stderr
    archive.server.ask(SLOT)
    with receiving(archive, "--slot", "holdfast"):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (done.returncode, "it is in use" in done.stderr) == (72, True)


def test_a_server_that_stops_ends_it_with_the_cause(archive: Archive) -> None:
    with receiving(archive) as running:
        archive.server.stop()
        _, told = running.communicate(timeout=120)
    assert running.returncode == 20, told
    assert "Traceback" not in told
    assert "error: cannot receive WAL" in told


def test_a_backup_over_the_wire_knows_which_wal_it_needs(archive: Archive) -> None:
    archive.installation.job["source"]["engine"] = "tools"
    archive.server.ask(SLOT)
    with receiving(archive, "--slot", "holdfast") as running:
        archive.installation.run("backup", "shop")
        lsn = archive.mark(1)
        archive.mark(2)
        assert running.poll() is None
        archive.switch()
    with archive.recovered("--target-lsn", lsn) as (back, told):
        assert told["recovery"]["state"] == "paused"
        assert points(back) == [1]
    before = archive.names()
    (pruned,) = archive.installation.run("prune", "shop")["jobs"]
    assert archive.names() == [each for each in before if each >= pruned["wal"][0]["first_kept"]]
