"""Sessions that outlive their processes, on a server that is restarted and promoted."""

from __future__ import annotations

import os
import pwd
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from holdfast.ports.sessions import HeldKind
from holdfast.sessions.client import SessionClient
from tests.engine.postgres.sessiond import Daemon
from tests.support.clusters import Cluster, cluster, standby_of
from tests.support.installation import Installation
from tests.support.waiting import until


@pytest.fixture
def server() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


def installation_of(folder: Path, server: Cluster) -> Installation:
    return Installation(folder, {"kind": "postgres", "dsn": server.dsn})


@pytest.fixture
def daemon(server: Cluster, tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(installation_of(tmp_path, server)).running() as running:
        yield running


def test_one_process_begins_and_dies_another_joins_and_another_ends(
    server: Cluster, daemon: Daemon
) -> None:
    # The first one sends a request and is killed as soon as it has the answer.
    argv = daemon.installation.argv(
        "session", "begin", "--job", "shop", "--kind", "backup", "--fast"
    )
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        session_id = first.stdout.readline().split()[1]
        first.kill()
    joined = daemon.ask("join", session_id)
    assert joined["start_lsn"]
    ended = daemon.ask("end", session_id)
    assert f"START WAL LOCATION: {joined['start_lsn']}" in ended["backup_label"]
    assert joined["start_wal_file"] in ended["backup_label"]
    assert ended["tablespace_map"] == ""
    until(lambda: server.held() == 0)
    # A client that missed the answer may ask again, but cannot join any more.
    assert daemon.ask("end", session_id)["backup_label"] == ended["backup_label"]
    assert daemon.ask("join", session_id, code=60)["error"].endswith(f"ended by user '{_me()}'")
    assert {"session_begun", "session_joined", "session_ended"} <= set(daemon.acts())


def test_a_held_snapshot_shows_the_same_rows_to_all_that_join(
    server: Cluster, daemon: Daemon
) -> None:
    server.ask("CREATE TABLE goods AS SELECT generate_series(1, 10) AS id")
    session_id = daemon.begin("--kind", "snapshot")
    server.ask("INSERT INTO goods SELECT generate_series(1, 5)")
    snapshot = daemon.ask("join", session_id)["snapshot"]
    with psycopg.connect(server.dsn) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'".encode())
        assert connection.execute("SELECT count(*) FROM goods").fetchone() == (10,)
    daemon.ask("abort", session_id)
    until(lambda: server.held() == 0)


def test_what_a_killed_daemon_held_is_lost_and_gone_from_the_server(
    server: Cluster, daemon: Daemon
) -> None:
    session_id = daemon.begin("--kind", "backup")
    daemon.end(signal.SIGKILL)
    until(lambda: server.held() == 0)
    daemon.start()
    state, reason = daemon.told(session_id)
    assert (state, "daemon" in reason) == ("lost", True)
    assert "daemon" in daemon.ask("end", session_id, code=62)["error"]


def test_a_restart_of_the_server_is_noticed_and_makes_the_backup_corrupt(
    server: Cluster, daemon: Daemon
) -> None:
    session_id = daemon.begin("--kind", "backup")
    server.stop()
    until(lambda: daemon.told(session_id)[0] == "lost")
    daemon.ask("join", session_id, code=62)
    server.start()
    until(lambda: daemon.told(session_id)[0] == "corrupt")
    assert "it was restarted at" in daemon.ask("end", session_id, code=64)["error"]
    assert server.held() == 0


def test_a_session_that_somebody_terminated_is_lost_with_the_servers_words(
    server: Cluster, daemon: Daemon
) -> None:
    session_id = daemon.begin("--kind", "backup")
    server.ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'holdfast-sessiond'"
    )
    until(lambda: daemon.told(session_id)[0] == "lost")
    assert "terminating connection" in daemon.told(session_id)[1]
    daemon.ask("end", session_id, code=62)


def test_a_promotion_is_noticed_and_makes_the_backup_corrupt(
    server: Cluster, tmp_path: Path
) -> None:
    with (
        standby_of(server) as standby,
        Daemon(installation_of(tmp_path, standby)).running() as daemon,
    ):
        session_id = daemon.begin("--kind", "backup")
        assert daemon.ask("join", session_id)["server_is_standby"] is True
        standby.promote()
        until(lambda: daemon.told(session_id)[0] == "corrupt")
        assert "promoted" in daemon.ask("end", session_id, code=64)["error"]
        assert standby.held() == 0


def test_a_session_without_a_heartbeat_expires_and_leaves_the_server(
    server: Cluster, daemon: Daemon
) -> None:
    session_id = daemon.begin("--kind", "backup", "--ttl", "1s")
    until(lambda: daemon.told(session_id)[0] == "expired")
    until(lambda: server.held() == 0)
    assert "no heartbeat" in daemon.ask("join", session_id, code=63)["error"]


def test_a_hundred_abandoned_sessions_leave_no_connection(server: Cluster, tmp_path: Path) -> None:
    with Daemon(installation_of(tmp_path, server), per_server=50).running() as daemon:
        client = SessionClient(socket_path=daemon.socket)
        for kind in (HeldKind.BACKUP, HeldKind.SNAPSHOT):
            for _ in range(50):
                client.begin(job="shop", label="", kind=kind, fast=True, ttl_seconds=3)
            until(lambda: server.held() == 0)
        found = daemon.ask("list", "--all")["sessions"]
        assert [each["state"] for each in found] == ["expired"] * 100


def test_no_more_sessions_than_allowed_and_the_refusal_costs_nothing(
    server: Cluster, daemon: Daemon
) -> None:
    for _ in range(4):
        daemon.begin("--kind", "backup")
    before = server.held()
    refused = daemon.ask("begin", "--job", "shop", code=65)
    assert "4 are held" in refused["error"]
    assert server.held() == before


def test_a_login_that_may_not_begin_is_told_the_grant(server: Cluster, tmp_path: Path) -> None:
    server.ask("CREATE ROLE clerk LOGIN")
    dsn = f"host={server.folder} user=clerk dbname=postgres"
    installation = Installation(tmp_path, {"kind": "postgres", "dsn": dsn})
    with Daemon(installation).running() as daemon:
        refused = daemon.ask("begin", "--job", "shop", "--kind", "backup", code=22)
        assert "GRANT EXECUTE" in refused["hint"]
        assert server.held() == 0
        daemon.ask("begin", "--job", "shpo", code=11)


def test_a_catalogue_that_somebody_has_locked_costs_no_session(
    server: Cluster, daemon: Daemon
) -> None:
    session_id = daemon.begin("--kind", "backup")
    catalogue = daemon.installation.folder / "state" / "sessions.sqlite"
    other = sqlite3.connect(catalogue, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        until(lambda: "session_store_not_cleaned" in daemon.acts())
        daemon.ask("heartbeat", session_id)
        ended = daemon.ask("end", session_id)
        assert "START WAL LOCATION" in ended["backup_label"]
    finally:
        other.close()
    until(lambda: daemon.told(session_id)[0] == "ended")
    until(lambda: server.held() == 0)


def _me() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name
