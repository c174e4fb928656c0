"""Logical backups in a snapshot of the daemon: a killed run resumes at the same moment."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.postgres.equality import checksums
from tests.engine.postgres.sessiond import Daemon
from tests.support.clusters import Cluster, cluster
from tests.support.installation import Installation
from tests.support.waiting import until

TABLES = """
CREATE TABLE big AS SELECT id, repeat(md5(id::text), 20) AS text FROM generate_series(1, 30000) id;
CREATE TABLE wide AS SELECT id, md5(id::text) AS name FROM generate_series(1, 100000) id;
CREATE TABLE small AS SELECT generate_series(1, 10) AS id;
CREATE TABLE goods (id int PRIMARY KEY, name text);
INSERT INTO goods SELECT id, md5(id::text) FROM generate_series(1, 1000) id;
"""
CHANGES = """
DELETE FROM big WHERE id % 2 = 0;
UPDATE wide SET name = 'other' WHERE id < 1000;
INSERT INTO small VALUES (99);
INSERT INTO goods VALUES (0, 'new');
"""
Held = tuple[Cluster, Installation, Daemon]
Sums = dict[tuple[str, str], tuple[int, int]]


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    with cluster() as server:
        server.ask("CREATE DATABASE shop")
        server.ask(TABLES, dbname="shop")
        dsn = server.dsn.replace("dbname=postgres", "dbname=shop")
        installation = Installation(
            tmp_path, {"kind": "postgres", "session": "daemon", "dsn": dsn}, level=1
        )
        installation.job.update(resumable=True, max_concurrent_processes=2)
        with Daemon(installation).running() as daemon:
            yield server, installation, daemon


def of(server: Cluster, database: str) -> Sums:
    return checksums(f"host={server.folder} user=postgres dbname={database}")


def killed_at(installation: Installation, failpoint: str) -> None:
    done = subprocess.run(
        installation.argv("backup", "shop"),
        env=os.environ | {"HOLDFAST_FAILPOINT": failpoint},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def brought_back(server: Cluster, installation: Installation, backup: str) -> Sums:
    server.ask("CREATE DATABASE again")
    installation.run(
        "restore", backup, "--to", f"postgresql://postgres@/again?host={server.folder}"
    )
    return of(server, "again")


def test_a_backup_under_a_held_snapshot_leaves_no_session(held: Held) -> None:
    server, installation, daemon = held
    made = installation.run("backup", "shop")
    (session,) = daemon.ask("list", "--all")["sessions"]
    assert (session["state"], session["kind"]) == ("ended", "snapshot")
    proof = installation.run("show", made["backup"])["manifest"]["proof"]
    assert (proof["snapshot"], proof["lsn"]) == (session["session_id"], session["start_lsn"])
    assert proof["exported"] == session["snapshot"]
    until(lambda: server.held() == 0)
    assert brought_back(server, installation, made["backup"]) == of(server, "shop")


@pytest.mark.parametrize(
    "failpoint",
    ["snapshot-taken", "part-begun:2", "part-stored:1", "part-stored:4", "parts-stored"],
)
def test_a_killed_run_is_resumed_at_the_moment_of_its_snapshot(held: Held, failpoint: str) -> None:
    server, installation, daemon = held
    before = of(server, "shop")
    killed_at(installation, failpoint)
    (session,) = daemon.ask("list")["sessions"]
    kept = installation.kept("data")
    server.ask(CHANGES, dbname="shop")
    made = installation.run("backup", "shop", "--resume")
    shown = installation.run("show", made["backup"])["manifest"]
    assert shown["consistency"] == "snapshot"
    assert shown["proof"]["snapshot"] == session["session_id"]
    # Every stored table shows the moment of the snapshot.
    assert kept == {key: (installation.repository / key).stat().st_ino for key in kept}
    assert len(kept) == int(shown["proof"].get("resumed_parts", 0))
    assert installation.run("verify", made["backup"])["verified"] is True
    assert daemon.told(session["session_id"])[0] == "ended"
    until(lambda: server.held() == 0)
    assert brought_back(server, installation, made["backup"]) == before


@pytest.mark.parametrize("failpoint", ["backup-locked", "backup-swept"])
def test_a_run_that_is_killed_before_its_snapshot_has_nothing_to_resume(
    held: Held, failpoint: str
) -> None:
    server, installation, daemon = held
    killed_at(installation, failpoint)
    assert daemon.ask("list", "--all")["sessions"] == []
    made = installation.run("backup", "shop", "--resume")
    assert brought_back(server, installation, made["backup"]) == of(server, "shop")


def test_a_run_that_is_killed_once_its_manifest_was_stored_has_made_a_backup(held: Held) -> None:
    server, installation, _ = held
    before = of(server, "shop")
    killed_at(installation, "manifest-stored")
    (made,) = installation.backups()
    server.ask(CHANGES, dbname="shop")
    assert installation.run("backup", "shop", "--resume")["backup"] != made["backup"]
    assert brought_back(server, installation, made["backup"]) == before


def test_a_resume_after_the_lease_is_refused_and_mixed_only_where_that_is_wanted(
    held: Held,
) -> None:
    server, installation, daemon = held
    killed_at(installation, "parts-stored")
    (session,) = daemon.ask("list")["sessions"]
    daemon.ask("abort", session["session_id"])
    assert "aborted" in installation.run("backup", "shop", "--resume", code=24)["error"]
    made = installation.run("backup", "shop", "--resume", "--allow-mixed")
    assert made["consistency"] == "mixed"
    until(lambda: server.held() == 0)


def test_a_run_that_fails_for_good_lets_the_snapshot_go(held: Held) -> None:
    server, installation, daemon = held
    installation.job.update(resumable=False, max_rate="1MB")
    with subprocess.Popen(
        installation.argv("backup", "shop"), stderr=subprocess.DEVNULL
    ) as running:
        until(lambda: len(daemon.ask("list")["sessions"]) == 1)
        until(lambda: any(path.suffix == ".zst" for path in installation.files()))
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 130
    (session,) = daemon.ask("list", "--all")["sessions"]
    assert session["state"] == "aborted"
    until(lambda: server.held() == 0)


def test_each_of_several_databases_has_a_snapshot_of_its_own(held: Held) -> None:
    server, installation, daemon = held
    server.ask("CREATE DATABASE other")
    server.ask("CREATE TABLE things AS SELECT generate_series(1, 7) AS id", dbname="other")
    installation.job["source"]["databases"] = ["shop", "other"]
    killed_at(installation, "part-stored:3")
    installation.run("backup", "shop", "--resume")
    states = [each["state"] for each in daemon.ask("list", "--all")["sessions"]]
    assert states == ["ended", "ended"]
    for name in ("shop", "other"):
        found = installation.run("show", "shop/latest", "--database", name)["manifest"]
        assert found["consistency"] == "snapshot"
    until(lambda: server.held() == 0)


@pytest.mark.parametrize("method", ["logical", "physical"])
def test_runs_that_are_killed_again_and_again_lock_nobody_out(held: Held, method: str) -> None:
    server, installation, daemon = held
    installation.job["source"]["method"] = method
    mine = daemon.begin("--kind", "snapshot")
    for failpoint in ("snapshot-taken", "part-stored:1", "parts-stored", "part-begun:1"):
        killed_at(installation, failpoint)
        # The previous one is ended, and a session that an operator began is not.
        assert len(daemon.ask("list")["sessions"]) == 2
    (dead,) = [each for each in daemon.ask("list")["sessions"] if each["session_id"] != mine]
    installation.job["resumable"] = False
    told = installation.run("repair", "shop", "--dry-run")["jobs"][0]["leftovers"]
    assert f"session {dead['session_id']}" in [each["what"] for each in told]
    assert len(daemon.ask("list")["sessions"]) == 2
    installation.run("repair", "shop")
    assert [each["session_id"] for each in daemon.ask("list")["sessions"]] == [mine]
    daemon.ask("abort", mine)
    until(lambda: server.held() == 0)
    installation.run("backup", "shop")
    until(lambda: server.held() == 0)
