"""Slices of an inventory side by side do what one run does: ansible-runner, and tune.yml in check
mode."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[3]
HOSTS = [f"db{number}" for number in range(1, 6)]
SLICES = [f"{number}/4" for number in range(1, 5)]


@dataclass(frozen=True, kw_only=True)
class Site:
    """Hosts that are this machine, without units of systemd, and the events of runs on them."""

    folder: Path

    def begin(self, ident: str, playbook: Path, *arguments: str) -> subprocess.Popen[str]:
        """As docs/scale.md says it."""
        return subprocess.Popen(
            [
                Path(sys.executable).with_name("ansible-runner"),
                *("run", self.folder / ident, "--ident", "run"),
                *("--project-dir", PROJECT, "--inventory", self.folder / "hosts.json"),
                *("--playbook", playbook, "--cmdline", " ".join(arguments)),
            ],
            env=os.environ
            | {
                "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
                "HOME": str(self.folder),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def told(self, ident: str) -> dict[str, list[Any]]:
        """What each host answered to each task, in the order of tasks."""
        found: dict[str, list[Any]] = {}
        events = (self.folder / ident).glob("artifacts/run/job_events/*-*.json")
        for event in sorted(map(_read, events), key=lambda each: int(each["counter"])):
            if event["event"] not in ("runner_on_ok", "runner_on_failed", "runner_on_skipped"):
                continue
            data = event["event_data"]
            # Other tasks run once a slice, on the control node.
            if data.get("role") == "sysctl":
                answer = data.get("res", {})
                found.setdefault(data["host"], []).append(
                    [data["task"], event["event"], *map(answer.get, ("changed", "diff", "rows"))]
                )
        return found


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    tools = tmp_path / "bin"
    tools.mkdir()
    python = tmp_path / "python"
    # This machine may have no systemd: a systemctl that knows no unit.
    for path, text in (
        (tools / "systemctl", "exit 0"),
        (python, f'PATH="{tools}:$PATH" exec "{sys.executable}" "$@"'),
    ):
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)
    hosts = {
        name: {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": str(python),
            "ansible_remote_tmp": str(tmp_path / f"{name}.files"),
        }
        for name in HOSTS
    }
    inventory = {"all": {"children": {"databases": {"hosts": hosts}}}}
    (tmp_path / "hosts.json").write_text(json.dumps(inventory))
    return Site(folder=tmp_path)


def ended(runs: Sequence[subprocess.Popen[str]]) -> list[int]:
    outputs = [run.communicate(timeout=600)[0] for run in runs]
    codes = [run.returncode for run in runs]
    assert codes == [0] * len(runs), "\n".join(outputs)[-6000:]
    return codes


def test_four_slices_of_tune_yml_tell_the_same_of_each_host_as_one_run(site: Site) -> None:
    tune, quick = PROJECT / "playbooks/tune.yml", ("--check", "--tags", "sysctl")
    ended([site.begin("whole", tune, *quick)])
    names = [f"slice-{each[0]}" for each in SLICES]
    ended(
        [
            site.begin(name, tune, *quick, "-e", f"fleet_slice={each}")
            for name, each in zip(names, SLICES, strict=True)
        ]
    )
    whole = site.told("whole")
    assert sorted(whole) == HOSTS
    slices = [site.told(name) for name in names]
    assert [sorted(each) for each in slices] == [["db1", "db5"], ["db2"], ["db3"], ["db4"]]
    for each in slices:
        for host, told in each.items():
            (rows,) = [rows for *_, rows in told if rows]
            assert len(rows) > 3
            assert told == whole[host]


def test_each_slice_has_waves_of_its_own_and_one_that_fails_stops_itself_alone(site: Site) -> None:
    order = site.folder / "order"
    playbook = site.folder / "waves.yml"
    write = {
        "ansible.builtin.lineinfile": {"path": f"{order}-{{{{ inventory_hostname }}}}",
                                       "line": "{{ ansible_play_batch | join(' ') }}",
                                       "create": True, "mode": "0600"},
    }  # fmt: skip
    fail = {"ansible.builtin.fail": None, "when": "inventory_hostname == 'db1'"}
    waves = {
        "hosts": "fleet_reachable",
        "gather_facts": False,
        "serial": "{{ fleet_waves | default([1, '10%', '100%']) }}",
        "any_errors_fatal": True,
        "tasks": [fail, write],
    }
    reachable = {"import_playbook": str(PROJECT / "playbooks/reachable.yml")}
    playbook.write_text(json.dumps([reachable, waves]))
    runs = [site.begin(each[0], playbook, "-e", f"fleet_slice={each}/2") for each in "12"]
    for run in runs:
        run.communicate(timeout=600)
    assert [run.returncode for run in runs] == [2, 0]
    written = {path.name.partition("-")[2]: path.read_text().strip()
               for path in site.folder.glob("order-*")}  # fmt: skip
    # Of 1/2, which is db1, db3 and db5, the canary failed; 2/2 went on with a canary of its own.
    assert written == {"db2": "db2", "db4": "db4"}
