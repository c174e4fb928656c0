"""A fleet as its repository tells it: a timer that was switched off, a host nobody deployed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCENARIO = Path(__file__).parents[1]
PROJECT = SCENARIO.parents[1]
PLAYED_ON = [each for each in os.environ.get("HOLDFAST_MOLECULE_HOSTS", "").split(",") if each]
HOST = next((name for name in PLAYED_ON if name.startswith("pg")), "pg13")
TIMER, VERIFY = "holdfast-backup-shop.timer", "holdfast-verify-shop.service"
AS_RUNNER = ("setpriv", "--reuid=holdfast", "--regid=holdfast", "--init-groups", "--reset-env")
ATTENTION = 44


def on_host(*argv: str, statuses: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "lab", "exec", SCENARIO / "inventory", HOST, "--", *argv],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in statuses, done.stdout + done.stderr
    return done.stdout


def jobs(*options: str) -> dict[str, dict[str, Any]]:
    told = on_host(*AS_RUNNER, "holdfast", "fleet", "--json", *options, statuses=(0, ATTENTION))
    document = json.loads(told)
    assert document["unseen"] == []
    return {f"{each['host']}/{each['job']}": each for each in document["jobs"]}


@pytest.fixture
def stopped() -> Iterator[str]:
    """A job whose timer was switched off by hand, and one run since that could see it."""
    name = on_host("hostname").strip()
    on_host("systemctl", "disable", "--now", TIMER)
    try:
        on_host("systemctl", "start", VERIFY)
        yield f"{name}/shop"
    finally:
        on_host("systemctl", "enable", "--now", TIMER)
        on_host("systemctl", "start", VERIFY)


def test_a_timer_that_was_switched_off_is_named_with_the_way_back(stopped: str) -> None:
    told = jobs()[stopped]
    assert told["state"] == "stopped"
    assert told["why"] == "its backup has a schedule, and its timer does not run"
    assert told["hint"] == f"on the host: systemctl enable --now {TIMER}"


def test_the_same_timer_is_well_once_it_runs_again() -> None:
    name = on_host("hostname").strip()
    on_host("systemctl", "start", VERIFY)
    shop = jobs()[f"{name}/shop"]
    assert shop["status"]["timers"]["backup"]["active"] is True
    assert shop["state"] != "stopped"


def test_a_host_that_was_never_deployed_is_named() -> None:
    expected = {"schema": "holdfast.expected-hosts/1", "hosts": {"new.example.org": ["shop"]}}
    on_host("sh", "-c", f"echo '{json.dumps(expected)}' >/run/expected.json")
    told = jobs("--expect", "/run/expected.json")["new.example.org/shop"]
    assert told["state"] == "missing"
