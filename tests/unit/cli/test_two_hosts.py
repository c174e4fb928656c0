"""Runs of one job on two hosts that share a repository: real processes, real kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.desk import CONFIG, Desk
from tests.support.waiting import until

PROJECT = Path(__file__).resolve().parents[3]
# Long enough for a busy disk: a put that takes longer is rightly a lease lost.
LEASE_SECONDS = 8
# What the rest of a run may take on a busy machine, beyond the waiting itself.
SLACK_SECONDS = 20
# A process of its own, whose kernel says that it is another host, and whose one table is read
# for as long as the file GO is not there.
PROGRAM = """
import dataclasses, os, pathlib, sys, threading, time
from tests.fakes.source import FakeSource, table
from holdfast.wiring import guards, sources as wiring_sources
from holdfast.cli.main import main
from holdfast.config.sources import PostgresSettings
from holdfast.locking.host_lock import this_process

host, go = os.environ["HOST"], pathlib.Path(os.environ["GO"])

class Gate(threading.Event):
    def wait(self, timeout=None):
        while not go.exists() and not self.is_set():
            time.sleep(0.01)
        return True

me = dataclasses.replace(this_process(), boot_id=host, host=host)
guards.this_process = lambda: me
orders = dataclasses.replace(table("orders", "1,ann", "2,bob"), waits_for=Gate())
wiring_sources.SOURCES[PostgresSettings] = lambda *_: FakeSource(orders)
main()
"""


Run = subprocess.Popen[str]


class Hosts:
    """Hosts with a state directory each, and one repository: a folder, or another `store`."""

    def __init__(self, folder: Path, *, store: str = "") -> None:
        self.folder = folder
        self.repository = folder / "repository"
        self.repository.mkdir()
        self.go = folder / "go"
        self._store = store or f"kind: local, path: {self.repository}"

    def config(self, host: str) -> Path:
        path = self.folder / f"{host}.yaml"
        if not path.exists():
            (self.folder / host / "state").mkdir(parents=True)
            text = CONFIG.format(folder=self.folder / host)
            store = f"{{{self._store}, lease_time: {LEASE_SECONDS}s}}"
            path.write_text(
                text.replace(f"{{kind: local, path: {self.folder / host}/repository}}", store)
            )
        return path

    @contextmanager
    def started(self, host: str, *arguments: str, failpoint: str = "") -> Iterator[Run]:
        environment = {
            **os.environ,
            "HOST": host,
            "GO": str(self.go),
            "HOLDFAST_FAILPOINT": failpoint,
        }
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "--config", str(self.config(host)), *arguments],
            cwd=PROJECT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def ended(self, host: str, *arguments: str, failpoint: str = "") -> tuple[int, dict[str, Any]]:
        """A run from start to end: its exit code and its document."""
        with self.started(host, *arguments, "--json", failpoint=failpoint) as process:
            stdout, _ = process.communicate(timeout=120)
        return process.returncode, json.loads(stdout or "{}")

    def is_reading(self) -> bool:
        """Whether somebody's run has come as far as storing parts."""
        return any(self.repository.glob("shop/*/parts/**/.unfinished-*"))


def codes_of_five_starts(hosts: Hosts) -> list[int]:
    """Three runs of one job on one host and two on another, at once: how they ended, sorted."""
    for host in ("a", "b"):
        config = hosts.config(host)
        config.write_text(
            config.read_text().replace("retention:", "overlap_alarm: 9\n    retention:")
        )
    with ExitStack() as started:
        runs = [started.enter_context(hosts.started(host, "backup", "shop")) for host in "aaabb"]
        until(lambda: sum(run.poll() is not None for run in runs) == 4)
        hosts.go.touch()
        for run in runs:
            run.communicate(timeout=120)
    return sorted(run.returncode for run in runs)


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)


def test_of_five_that_start_together_one_runs_and_four_skip(hosts: Hosts) -> None:
    assert codes_of_five_starts(hosts) == [0, 40, 40, 40, 40]
    assert len(list(hosts.repository.glob("shop/*/manifest.json"))) == 1


def test_the_host_that_skips_says_where_the_job_runs_and_counts(hosts: Hosts) -> None:
    with hosts.started("a", "backup", "shop") as owner:
        until(hosts.is_reading)
        codes = []
        for _ in range(3):
            code, document = hosts.ended("b", "backup", "shop")
            codes.append(code)
        assert codes == [40, 40, 41]
        assert f"process {owner.pid} on 'a' has been running it since" in document["error"]
        assert "3 runs in a row were skipped" in document["error"]
        _, status = hosts.ended("b", "status", "shop")
        assert status["jobs"][0]["skipped_in_a_row"] == 3
        assert status["jobs"][0]["owner"]["host"] == "a"
        hosts.go.touch()
        owner.communicate(timeout=120)
    assert owner.returncode == 0
    code, _ = hosts.ended("b", "backup", "shop")
    assert code == 0


def test_when_the_owner_is_killed_the_other_host_takes_over_within_the_lease_time(
    hosts: Hosts,
) -> None:
    with hosts.started("a", "backup", "shop") as owner:
        until(hosts.is_reading)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    hosts.go.touch()
    began = time.monotonic()
    code, document = hosts.ended("b", "backup", "shop")
    assert code == 0
    assert LEASE_SECONDS <= time.monotonic() - began < LEASE_SECONDS + SLACK_SECONDS
    (kept,) = hosts.repository.glob("shop/*/manifest.json")
    assert kept.parent.name == document["name"]
    assert not hosts.is_reading()


def test_an_owner_that_was_frozen_for_a_lease_time_ends_without_a_backup(hosts: Hosts) -> None:
    with hosts.started("a", "backup", "shop", "--json") as owner:
        until(hosts.is_reading)
        owner.send_signal(signal.SIGSTOP)
        hosts.go.touch()
        try:
            code, document = hosts.ended("b", "backup", "shop")
        finally:
            owner.send_signal(signal.SIGCONT)
        stdout, _ = owner.communicate(timeout=120)
    assert code == 0
    assert owner.returncode == 43
    assert json.loads(stdout)["exit_code"] == 43
    (kept,) = hosts.repository.glob("shop/*/manifest.json")
    assert kept.parent.name == document["name"]


@pytest.mark.parametrize("failpoint", ["lease-put", "lease-held"])
def test_a_taker_that_is_killed_half_way_is_followed_by_the_next(
    hosts: Hosts, failpoint: str
) -> None:
    hosts.go.touch()
    for host in ("a", "b"):
        code, _ = hosts.ended(host, "backup", "shop", failpoint=failpoint)
        assert code == -signal.SIGKILL
    code, document = hosts.ended("b", "backup", "shop")
    assert code == 0
    code, verified = hosts.ended("b", "verify", document["backup"])
    assert (code, verified["verified"]) == (0, True)
    assert len(list(hosts.repository.glob("_leases/shop/*"))) == 1


def test_with_one_slot_the_second_host_waits_for_its_turn(hosts: Hosts) -> None:
    for host in ("a", "b"):
        config = hosts.config(host)
        config.write_text(
            config.read_text()
            .replace("lease_time", "repository_slots: 1, lease_time")
            .replace("  shop:", f"  shop-{host}:")
            .replace("retention:", "wait_at_most: 60s\n    retention:")
        )
    with hosts.started("a", "backup", "shop-a") as first:
        until(lambda: any(hosts.repository.glob("shop-a/*/parts/**/.unfinished-*")))
        with hosts.started("b", "backup", "shop-b") as second:
            until(lambda: any(hosts.repository.glob("_leases/shop-b/*")))
            with suppress(subprocess.TimeoutExpired):
                second.wait(timeout=LEASE_SECONDS + 1)
            assert second.returncode is None
            hosts.go.touch()
            first.communicate(timeout=120)
            second.communicate(timeout=120)
    assert [run.returncode for run in (first, second)] == [0, 0]
    assert len(list(hosts.repository.glob("*/*/manifest.json"))) == 2


def test_a_slot_that_never_comes_free_is_a_skip_of_its_own_kind(desk: Desk) -> None:
    text = desk.config.read_text()
    desk.config.write_text(
        text.replace("repository}", "repository, repository_slots: 1}").replace(
            "retention:", "wait_at_most: 1s\n    retention:"
        )
    )
    with desk.context("shop").guard.hold("stock", deadline=None):
        answer = desk.holdfast("backup", "shop", "--json")
    assert answer.exit_code == 42
    assert "all 1 slots of its repository are taken" in answer.document["error"]
