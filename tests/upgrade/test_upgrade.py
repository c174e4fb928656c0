"""Hosts that an older release deployed lose nothing when `site.yml` of this one runs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab import command, fleet, hosts
from lab.demo import data, equality
from lab.demo.playbooks import Played, play
from lab.demo.shell import POSTGRES, Shell, shells
from lab.state import PROJECT, STATE
from tests.support.older_release import (
    BEFORE,
    GATE,
    HOSTS,
    inventory,
    is_known,
    unpacked,
)
from tests.support.waiting import until

SHOP = data.Database(job="shop", name="shop")
BACKUP, VERIFY, DRILL = (f"holdfast-{purpose}-shop" for purpose in ("backup", "verify", "drill"))
DELAY_MICROSECONDS = 15 * 60 * 1_000_000
AS_RUNNER = ("runuser", "-u", "holdfast", "--")
# The state folder holds journals, histories and logs of verification.
LEDGERS = "cd /var/lib/holdfast-state 2>/dev/null && find . -type f -name '*.jsonl' -exec cat {} +"
ORIGINALS = (
    "find /var/lib/holdfast-tuning -type f -name '*.json' ! -name verdict.json -exec sha256sum {} +"
)


@dataclass(slots=True, kw_only=True)
class Host:
    """What one host held before the upgrade, and what it holds after it."""

    shell: Shell
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    refused: str = ""
    went_on: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgraded:
    """Both hosts, and the two runs of the newer release's playbook."""

    hosts: tuple[Host, ...]
    first: Played
    second: Played
    inventory: Path


@pytest.fixture(scope="module")
def upgraded() -> Iterator[Upgraded]:
    """Deploy the older release, let it work, and deploy this one while one of its runs waits."""
    if not is_known():
        pytest.skip(f"this clone does not hold the older release {BEFORE}")
    tree = unpacked()
    where = inventory(tree)
    machines = fleet.read(where)
    hosts.down(machines, limit=[])
    hosts.up(machines, limit=list(HOSTS))
    try:
        held = [Host(shell=each) for each in shells(machines) if each.host.name in HOSTS]
        on_each(held, _loaded)
        deploy(where, project=tree, log="upgrade-older")
        on_each(held, _worked)
        on_each(held, _run_begins)
        first = deploy(where, project=PROJECT, log="upgrade-newer")
        on_each(held, _run_ends)
        second = deploy(where, project=PROJECT, log="upgrade-newer-again")
        yield Upgraded(hosts=tuple(held), first=first, second=second, inventory=where)
    finally:
        hosts.down(machines, limit=[])


def deploy(where: Path, *, project: Path, log: str) -> Played:
    """`site.yml` of a release; the inventory is that of the older one in both cases."""
    asked = variables() | {"fleet_hosts": ":".join(HOSTS), "fleet_waves": ["100%"]}
    return play("site", where, variables=asked, log=log, say=lambda _: None, project=project)


def variables() -> dict[str, Any]:
    return {"lab_state": str(STATE), "demo_has_chinook": False}


def on_each(held: list[Host], act: Any) -> None:
    with ThreadPoolExecutor(len(held)) as pool:
        list(pool.map(act, held))


def _loaded(host: Host) -> None:
    host.shell.sql("CREATE DATABASE shop;")
    host.shell.load(data.HERE / f"shop.{host.shell.kind}.sql", database="shop")


def _worked(host: Host) -> None:
    """One run of each kind, as its timer would start it."""
    for unit in (BACKUP, VERIFY, DRILL):
        host.shell.run(["systemctl", "start", f"{unit}.service"])
    host.before = facts(host.shell)


def _run_begins(host: Host) -> None:
    """A run of the older release gets its job's lock, and then waits in its hook."""
    shell = host.shell
    shell.run(["mkfifo", "--mode=0644", GATE])
    shell.run(["systemctl", "start", "--no-block", f"{BACKUP}.service"])
    until(lambda: command.succeeds(_exec(shell, "pgrep", "-f", f"cat {GATE}")))


def _run_ends(host: Host) -> None:
    """This release respects that lock; then the older run continues, and ends well."""
    shell = host.shell
    second = subprocess.run(
        _exec(shell, *AS_RUNNER, "holdfast", "backup", "shop"), capture_output=True, check=False
    )
    host.refused = (second.stdout + second.stderr).decode()
    host.went_on = command.succeeds(_exec(shell, "pgrep", "-f", f"cat {GATE}"))
    shell.run(["timeout", "60", "sh", "-c", f": >{GATE}; rm {GATE}"])
    until(lambda: _property(shell, "ActiveState") != "activating")
    host.after = facts(shell)


def facts(shell: Shell) -> dict[str, Any]:
    """Timers with their moments, backups, drills, ledgers, and what tuning found at first."""
    timers = json.loads(shell.run(["systemctl", "list-timers", "--all", "--output=json"]))
    return {
        "timers": {each["unit"]: each["next"] for each in timers if "holdfast" in each["unit"]},
        "backups": json.loads(shell.run(["holdfast", "list", "shop", "--json"]))["backups"],
        "drills": json.loads(shell.run(["holdfast", "drills", "shop", "--json"]))["drills"],
        "status": json.loads(shell.run(["holdfast", "status", "--json"])),
        "ledgers": shell.run(["sh", "-c", LEDGERS]).splitlines(),
        "originals": shell.run(["sh", "-c", ORIGINALS]).splitlines(),
        "result": _property(shell, "Result"),
    }


def _property(shell: Shell, name: str) -> str:
    return shell.run(["systemctl", "show", f"--property={name}", "--value", BACKUP]).strip()


def _exec(shell: Shell, *argv: str) -> list[str]:
    return ["podman", "exec", shell.container, *argv]


def test_every_timer_is_there_and_fires_when_it_would_have(upgraded: Upgraded) -> None:
    for host in upgraded.hosts:
        assert {BACKUP + ".timer", VERIFY + ".timer", DRILL + ".timer"} <= set(
            host.before["timers"]
        )
        for unit, moment in host.before["timers"].items():
            # Each reload of systemd draws the random delay of a timer again.
            assert abs(host.after["timers"][unit] - moment) <= DELAY_MICROSECONDS, unit


def test_backups_and_drills_of_the_older_release_are_listed_as_before(upgraded: Upgraded) -> None:
    for host in upgraded.hosts:
        listed = [each["backup"] for each in host.after["backups"]]
        assert [each["backup"] for each in host.before["backups"]] == listed[1:]
        (drilled,) = host.before["drills"]
        assert drilled in host.after["drills"]


def test_what_the_host_remembers_is_kept(upgraded: Upgraded) -> None:
    for host in upgraded.hosts:
        assert host.before["ledgers"], host.shell.host.name
        assert set(host.before["ledgers"]) <= set(host.after["ledgers"])
        assert host.before["originals"] == host.after["originals"] != []


def test_a_run_of_the_older_release_keeps_its_lock_and_ends_well(upgraded: Upgraded) -> None:
    for host in upgraded.hosts:
        assert "has been running it since" in host.refused
        assert host.went_on
        assert host.after["result"] == "success"
        assert len(host.after["backups"]) == len(host.before["backups"]) + 1


def test_backups_of_both_releases_are_verified_by_this_one(upgraded: Upgraded) -> None:
    for host in upgraded.hosts:
        for each in host.after["backups"]:
            verified = _as_runner(host.shell, "holdfast", "verify", each["backup"], "--json")
            assert json.loads(verified)["verified"] is True


def test_a_backup_of_the_older_release_is_restored_row_for_row(upgraded: Upgraded) -> None:
    for host in upgraded.hosts:
        (old,) = host.before["backups"]
        asked = variables() | {
            "restore_host": host.shell.host.name,
            "restore_backup": old["backup"],
            "restore_to": address(host.shell),
        }
        play(
            "restore",
            upgraded.inventory,
            variables=asked,
            log="upgrade-restore",
            say=lambda _: None,
        )
        compared = equality.compare(host.shell, SHOP)
        assert compared.equal, compared.differences
        assert compared.rows > 0


def test_a_second_run_of_the_newer_release_changes_nothing(upgraded: Upgraded) -> None:
    assert set(upgraded.second.changed) >= set(HOSTS)
    assert not any(upgraded.second.changed.values())


def address(shell: Shell) -> str:
    if shell.kind == POSTGRES:
        return f"postgresql://holdfast_restore@/{SHOP.restored}?host=/run/postgresql"
    return f"mysql://root@localhost/{SHOP.restored}?unix_socket=/run/mysqld/mysqld.sock"


def _as_runner(shell: Shell, *argv: str) -> str:
    return shell.run([*AS_RUNNER, *argv])
