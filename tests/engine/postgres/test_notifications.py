"""A server that is down, and a run that is killed, are told with a real server and real sockets."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.runtime.events import FAILPOINT_VARIABLE
from tests.support.clusters import Cluster, cluster
from tests.support.installation import Installation
from tests.support.receivers import Listener, listening

SECRET = "4111-1111-hunter2"


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


@pytest.fixture
def server() -> Iterator[Cluster]:
    with cluster() as found:
        found.ask(f"CREATE TABLE cards AS SELECT '{SECRET}'::text AS number")
        yield found


@pytest.fixture
def shop(tmp_path: Path, server: Cluster, listener: Listener) -> Installation:
    found = Installation(tmp_path, {"kind": "postgres", "dsn": server.dsn})
    found.settings["notify"] = {
        "watch": {"kind": "ping", "url": listener.url("/{job}")},
        "ops": {"kind": "webhook", "url": listener.url("/ops")},
    }
    found.job["attempts"] = 1
    return found


def test_a_stopped_server_is_told_as_a_failure_and_its_return_as_a_success(
    shop: Installation, server: Cluster, listener: Listener
) -> None:
    server.stop()
    shop.run("backup", "shop", code=20)
    assert sorted(listener.paths) == ["/ops", "/shop/fail", "/shop/start"]
    failure = next(each.document for each in listener.told if each.path == "/ops")
    assert (failure["event"], failure["exit_code"]) == ("failure", 20)
    assert "cannot" in failure["error"]
    listener.told.clear()
    server.start()
    document = shop.run("backup", "shop")
    assert listener.paths == ["/shop/start", "/shop"]
    assert document["backup"].encode() in listener.told[1].body


def test_the_log_that_is_sent_holds_no_row_and_no_statement(
    shop: Installation, server: Cluster, listener: Listener
) -> None:
    log = {"kind": "webhook", "url": listener.url("/log"), "on": ["success", "failure"]}
    shop.settings["notify"]["log"] = {**log, "include_log": True}
    shop.run("backup", "shop")
    server.ask("DROP TABLE cards")
    server.stop()
    shop.run("backup", "shop", code=20)
    logs = [each.document["log"] for each in listener.told if each.path == "/log"]
    assert len(logs) == 2
    assert any("backup_done" in line for line in logs[0])
    for told in listener.told:
        assert SECRET.encode() not in told.body
        assert b"SELECT" not in told.body


def test_a_run_that_was_killed_is_told_when_its_unit_stops(
    shop: Installation, listener: Listener
) -> None:
    # systemd gives it to all programs of one start of a unit.
    unit = {"INVOCATION_ID": "0123456789abcdef0123456789abcdef"}
    killed = subprocess.run(
        shop.argv("backup", "shop"),
        env=os.environ | unit | {FAILPOINT_VARIABLE: "part-stored"},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    shop.run("notify", "send", environment=unit | {"SERVICE_RESULT": "oom-kill"})
    start = next(each for each in listener.told if each.path.startswith("/shop/start"))
    fail = next(each for each in listener.told if each.path.startswith("/shop/fail"))
    assert start.path.partition("?")[2] == fail.path.partition("?")[2], "one run id"
    assert b"never ended: systemd says oom-kill" in fail.body
    shop.run("backup", "shop")
    assert listener.paths[-1] == "/shop"
