"""A job's timeout covers the opening of its snapshot, and leaves nothing on the server."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.engine.postgres.sessiond import Daemon
from tests.support.clusters import Cluster, cluster
from tests.support.installation import Installation
from tests.support.waiting import until

TABLE = "CREATE TABLE goods AS SELECT id, repeat('x', 500) FROM generate_series(1, 99999) id"
OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'holdfast%'"


@pytest.fixture
def server() -> Iterator[Cluster]:
    with cluster() as made:
        made.ask(
            "CREATE TABLE goods AS SELECT id, repeat('x', 500) FROM generate_series(1, 99999) id"
        )
        yield made


def installation_of(server: Cluster, folder: Path, **source: str) -> Installation:
    installation = Installation(folder, {"kind": "postgres", "dsn": server.dsn, **source}, level=1)
    installation.job.update(timeout="3s", max_concurrent_processes=1)
    return installation


@pytest.mark.parametrize("engine", ["native", "tools"])
def test_a_lock_that_somebody_holds_ends_the_run_at_its_deadline_and_names_him(
    server: Cluster, tmp_path: Path, engine: str
) -> None:
    installation = installation_of(server, tmp_path, engine=engine)
    with psycopg.connect(server.dsn) as blocker:
        blocker.execute("LOCK TABLE goods IN ACCESS EXCLUSIVE MODE")
        told = installation.run("backup", "shop", code=33)
        assert "the snapshot was not taken yet" in told["error"]
        assert f"held by pid {blocker.info.backend_pid}" in told["error"]
        assert "holdfast plan" in told["hint"]
        # No session of the backup waits for the lock any more, though it is still held.
        until(lambda: server.ask(OURS) == [(0,)])
    assert [path.name for path in installation.files()] == ["failed.json"]
    installation.job["timeout"] = "5m"
    installation.run("backup", "shop")


def test_a_checkpoint_that_takes_its_time_ends_a_base_backup_at_the_deadline(
    server: Cluster, tmp_path: Path
) -> None:
    server.ask("ALTER SYSTEM SET checkpoint_timeout = '1h'")
    server.ask("SELECT pg_reload_conf()")
    server.ask("UPDATE goods SET id = id + 1")
    installation = installation_of(server, tmp_path, method="physical", checkpoint="spread")
    told = installation.run("backup", "shop", code=33)
    assert "waiting for the checkpoint" in told["error"]
    until(lambda: server.held() == 0)
    assert [path.name for path in installation.files()] == ["failed.json"]
    installation.job["source"]["checkpoint"] = "fast"
    installation.job["timeout"] = "5m"
    installation.run("backup", "shop")


def test_a_session_that_the_daemon_is_still_to_begin_is_not_left_with_it(
    server: Cluster, tmp_path: Path
) -> None:
    installation = installation_of(server, tmp_path, session="daemon")
    with Daemon(installation).running() as daemon, psycopg.connect(server.dsn) as blocker:
        blocker.execute("LOCK TABLE goods IN ACCESS EXCLUSIVE MODE")
        told = installation.run("backup", "shop", code=33)
        assert "the snapshot was not taken yet" in told["error"]
        blocker.rollback()
        until(lambda: server.held() == 0)
        assert daemon.ask("list")["sessions"] == []


def test_a_run_that_is_told_to_end_while_it_waits_leaves_nothing_waiting(
    server: Cluster, tmp_path: Path
) -> None:
    installation = installation_of(server, tmp_path)
    installation.job["timeout"] = "5m"
    with psycopg.connect(server.dsn) as blocker:
        blocker.execute("LOCK TABLE goods IN ACCESS EXCLUSIVE MODE")
        with subprocess.Popen(
            installation.argv("backup", "shop"), stderr=subprocess.DEVNULL
        ) as running:
            until(
                lambda: (
                    server.ask("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted") == [(True,)]
                )
            )
            running.send_signal(signal.SIGTERM)
            assert running.wait(60) == 130
        until(lambda: server.ask(OURS) == [(0,)])
