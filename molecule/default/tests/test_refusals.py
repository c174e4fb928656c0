"""A deployment refuses, by name, anything that would prevent a backup at night."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCENARIO = Path(__file__).parents[1]
PROJECT = SCENARIO.parents[1]
PLAYED_ON = [each for each in os.environ.get("HOLDFAST_MOLECULE_HOSTS", "").split(",") if each]
# One host is enough; it has servers of both kinds.
HOST = next((name for name in PLAYED_ON if name.startswith("pg")), "pg13")
DSN = "host=/run/postgresql dbname=shop user=holdfast"
TAGS = ("backup_runner_install", "backup_runner_configure", "backup_runner_check")
UNITS = "/etc/systemd/system"


def deployed(**variables: Any) -> subprocess.CompletedProcess[str]:
    """One host as `deploy.yml` leaves it, with these variables in front of the inventory's."""
    program = Path(sys.executable).with_name("ansible-playbook")
    return subprocess.run(
        [
            *(program, "-i", SCENARIO / "inventory", "--limit", HOST),
            *("--tags", ",".join(TAGS), f"-e{json.dumps(variables)}"),
            PROJECT / "playbooks/deploy.yml",
        ],
        env=os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "COLUMNS": "1000"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def on_host(*argv: str) -> str:
    program = [sys.executable, "-m", "lab", "exec", str(SCENARIO / "inventory"), HOST, "--"]
    done = subprocess.run(
        [*program, *argv], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    return done.stdout


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    done = deployed()
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("line", ["MemoryMx=1G", "MemoryMax=much"])
def test_a_line_that_systemd_would_ignore_is_refused_before_it_lands(line: str) -> None:
    before = on_host("cat", f"{UNITS}/holdfast-backup-shop.service")
    done = deployed(backup_runner_service_lines=[line])
    assert done.returncode != 0
    assert "cannot use the units of the jobs: systemd reports" in done.stdout + done.stderr
    # systemd's words for an unknown name, and for an invalid value.
    assert ("Unknown key" if "Mx" in line else "Invalid memory limit") in done.stdout + done.stderr
    assert on_host("cat", f"{UNITS}/holdfast-backup-shop.service") == before != ""


def test_a_delay_that_systemd_cannot_read_is_refused() -> None:
    done = deployed(backup_runner_timer_delay="half an hour")
    assert done.returncode != 0
    # Each release of systemd words it differently; all name the value, and that it has no effect.
    said = " ".join((done.stdout + done.stderr).split())
    assert "cannot use the units of the jobs: systemd reports" in said
    assert re.search(r"ignoring: half an hour|half an hour, ignoring", said)


def test_a_path_with_a_blank_works_in_the_unit_itself() -> None:
    blank = "/var/lib/holdfast/my backups"
    job = {"source": {"kind": "postgres", "dsn": DSN}, "repository": "blank"}
    done = deployed(
        backup_runner_repositories={
            "main": {"kind": "local", "path": "/var/lib/holdfast"},
            "blank": {"kind": "local", "path": blank},
        },
        backup_runner_jobs_blank={"blank": job},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every job could run now" in done.stdout
    on_host("systemctl", "start", "holdfast-backup-blank.service")
    result = on_host("systemctl", "show", "-P", "Result", "holdfast-backup-blank.service")
    assert result.strip() == "success"
    assert on_host("find", blank, "-name", "manifest.json").count("\n") == 1


def test_a_credential_that_the_unit_of_the_job_lacks_is_missed_by_its_name() -> None:
    """Only the absence is tested: the systemd of a container without its own mount namespace passes
    no credential."""
    away = {
        "kind": "s3",
        "bucket": "none",
        "endpoint": "http://127.0.0.1:9",
        "access_key": {"credential": "s3-access"},
        "secret_key": {"credential": "s3-secret"},
    }
    done = deployed(
        backup_runner_repositories={
            "main": {"kind": "local", "path": "/var/lib/holdfast"},
            "away": away,
        },
        backup_runner_jobs_away={
            "away": {"source": {"kind": "postgres", "dsn": DSN}, "repository": "away"}
        },
    )
    assert done.returncode != 0
    assert "away: cannot use access_key" in done.stdout + done.stderr
    assert "s3-access" in done.stdout + done.stderr


def test_another_user_takes_over_what_the_earlier_one_left() -> None:
    done = deployed(backup_runner_user="daemon", backup_runner_group="daemon")
    told = done.stdout + done.stderr
    # The database has the current user only; nothing else may fail.
    assert "PermissionError" not in told
    assert "lock" not in told.partition("TASK [Prove that every job")[2].lower()
    owners = on_host("find", "/var/lib/holdfast-state", "-printf", "%u\\n").split()
    assert set(owners) == {"daemon"}
