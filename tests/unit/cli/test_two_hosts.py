"""Runs of one job on two hosts that share a repository: real processes, real kills."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.two_hosts import LEASE_SECONDS, SLACK_SECONDS, TwoHosts, codes_of_five_starts
from tests.support.waiting import until


@pytest.fixture
def hosts(tmp_path: Path) -> TwoHosts:
    return TwoHosts(tmp_path)


def test_of_five_that_start_together_one_runs_and_four_skip(hosts: TwoHosts) -> None:
    assert codes_of_five_starts(hosts) == [0, 40, 40, 40, 40]
    assert len(list(hosts.repository.glob("shop/*/manifest.json"))) == 1


def test_the_host_that_skips_says_where_the_job_runs_and_counts(hosts: TwoHosts) -> None:
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
    hosts: TwoHosts,
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


def test_an_owner_that_was_frozen_for_a_lease_time_ends_without_a_backup(hosts: TwoHosts) -> None:
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
def test_a_run_that_is_killed_while_it_takes_the_lease_is_followed_by_the_next(
    hosts: TwoHosts, failpoint: str
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


def test_with_one_slot_the_second_host_waits_for_its_turn(hosts: TwoHosts) -> None:
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
            until(lambda: any(hosts.repository.glob("_slots/line/*")))
            with suppress(subprocess.TimeoutExpired):
                second.wait(timeout=LEASE_SECONDS + 1)
            assert second.returncode is None
            assert not any(hosts.repository.glob("_leases/shop-b/*"))
            hosts.go.touch()
            first.communicate(timeout=120)
            second.communicate(timeout=120)
    assert [run.returncode for run in (first, second)] == [0, 0]
    assert len(list(hosts.repository.glob("*/*/manifest.json"))) == 2


def test_a_slot_that_never_comes_free_is_a_skip_of_its_own_kind(cli: CommandLine) -> None:
    text = cli.config.read_text()
    cli.config.write_text(
        text.replace("repository}", "repository, repository_slots: 1}").replace(
            "retention:", "wait_at_most: 1s\n    retention:"
        )
    )
    with cli.context("shop").ownership.guard.hold("stock", deadline=None):
        answer = cli.holdfast("backup", "shop", "--json")
    assert answer.exit_code == 42
    assert "all 1 slots of its repository are taken" in answer.document["error"]
