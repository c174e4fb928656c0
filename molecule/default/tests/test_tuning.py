"""The tuned hosts over ssh: values of the running system, not of the files that we wrote.

If a host does not own a value, the test expects that it was left alone.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml
from testinfra.host import Host

SCENARIO = Path(__file__).parents[1]
PROJECT = SCENARIO.parents[1]
WANTED = {
    "vm.overcommit_memory": 1,
    "vm.swappiness": 10,
    "vm.dirty_ratio": 10,
    "vm.dirty_background_ratio": 5,
}
NOFILE, NPROC, TASKS = 65536, 32768, 4096
DATABASES = {"postgres": ("postgres", "postgresql@"), "mariadb": ("mysql", "mariadb")}


def inventory() -> dict[str, dict[str, Any]]:
    """Every host's own variables, with the name of its database group."""
    groups = yaml.safe_load((SCENARIO / "inventory/hosts.yml").read_text())["all"]["children"]
    return {
        name: {**variables, "database": group}
        for group, content in groups["databases"]["children"].items()
        # The group of a host's second server holds its name and nothing else.
        for name, variables in content["hosts"].items()
        if variables
    }


def shared() -> dict[str, Any]:
    """The variables that all hosts share."""
    text = (SCENARIO / "inventory/group_vars/all/lab.yml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)
    return found


HOSTS = inventory()


# The same hosts that molecule.yml limits its playbooks to.
PLAYED_ON = [
    name for name in os.environ.get("HOLDFAST_MOLECULE_HOSTS", "").split(",") if name
] or sorted(HOSTS)


@pytest.fixture(params=PLAYED_ON)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def host(name: str) -> Host:
    state = PROJECT / ".lab"
    known = state / "fleets" / shared()["lab_network"] / "known_hosts"
    return testinfra.get_host(
        f"ssh://root@{HOSTS[name]['ansible_host']}",
        ssh_identity_file=str(state / "ssh/id_ed25519"),
        ssh_extra_args=f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes",
        # One connection for all tests of a host.
        controlpersist=60,
    )


def owns(name: str, what: str) -> bool:
    """Whether the inventory gives this host such a thing of its own."""
    return bool({**shared(), **HOSTS[name]}.get(what))


def limits_in(text: str) -> dict[str, tuple[str, ...]]:
    """Soft and hard limit of each kind, from /proc/PID/limits."""
    found = re.findall(r"^Max (open files|processes) +(\S+) +(\S+)", text, re.MULTILINE)
    return {kind: (soft, hard) for kind, soft, hard in found}


def grants(host: Host, prop: str, kind: str, limit: int) -> bool:
    """Whether a unit of this host can have the limit; the machine below may not allow it."""
    run = f"systemd-run --quiet --wait --pipe --collect -p {prop}={limit} cat /proc/self/limits"
    return limits_in(host.run(run).stdout).get(kind) == (str(limit), str(limit))


@pytest.mark.parametrize("key", sorted(WANTED))
def test_a_kernel_key_is_set_where_it_is_the_hosts_own_and_untouched_elsewhere(
    host: Host, name: str, key: str
) -> None:
    # The tests run on the machine below, so both see the same values.
    below = int(Path("/proc/sys", key.replace(".", "/")).read_text())
    expected = WANTED[key] if owns(name, "lab_own_sysctl") else below
    assert host.sysctl(key) == expected


def test_the_next_boot_sets_only_the_hosts_own_keys(host: Host, name: str) -> None:
    kept = re.findall(
        r"^(\S+) = (\d+)$",
        host.file("/etc/sysctl.d/99-dbbackup.conf").content_string,
        re.MULTILINE,
    )
    expected = WANTED if owns(name, "lab_own_sysctl") else {}
    assert {key: int(value) for key, value in kept} == expected


def test_a_login_of_the_database_has_the_limits_that_the_host_can_grant(
    host: Host, name: str
) -> None:
    user, _ = DATABASES[HOSTS[name]["database"]]
    login = host.run(f"runuser -s /bin/sh {user} -c 'cat /proc/self/limits'")
    assert login.succeeded, login.stderr
    has = limits_in(login.stdout)
    for prop, kind, limit in (
        ("LimitNOFILE", "open files", NOFILE),
        ("LimitNPROC", "processes", NPROC),
    ):
        granted = grants(host, prop, kind, limit)
        assert (has[kind] == (str(limit), str(limit))) is granted


def test_the_databases_service_is_promised_no_more_than_the_host_can_grant(
    host: Host, name: str
) -> None:
    _, service = DATABASES[HOSTS[name]["database"]]
    listed = host.run(f"systemctl list-units --plain --no-legend '{service}*.service'").stdout
    unit = listed.split()[0]
    promised = host.check_output(f"systemctl show --value --property=LimitNOFILE {unit}")
    granted = grants(host, "LimitNOFILE", "open files", NOFILE)
    assert (promised == str(NOFILE)) is granted


def test_a_database_restarts_with_what_it_was_promised(host: Host, name: str) -> None:
    _, service = DATABASES[HOSTS[name]["database"]]
    listed = host.run(f"systemctl list-units --plain --no-legend '{service}*.service'").stdout
    unit = listed.split()[0]
    assert host.run(f"systemctl restart {unit}").succeeded
    assert host.check_output(f"systemctl is-active {unit}") == "active"


def test_crons_live_control_group_has_the_ceiling(host: Host) -> None:
    group = host.check_output("systemctl show --value --property=ControlGroup cron.service")
    ceiling = host.check_output(f"cat /sys/fs/cgroup{{,/pids}}{group}/pids.max 2>/dev/null || true")
    assert ceiling == str(TASKS)


@pytest.mark.parametrize("purpose", ["backup", "verify", "drill"])
def test_every_service_of_a_job_is_promised_the_ceilings(host: Host, purpose: str) -> None:
    # A unit of a new name shows what the prefix's drop-ins give to any future job.
    unit = f"holdfast-{purpose}-tuningtest"
    run = f"systemd-run --quiet --wait --pipe --collect --unit={unit}"
    assert host.check_output(f"{run} systemctl show --value -P TasksMax {unit}") == str(TASKS)
    dropins = host.check_output(f"{run} systemctl show --value -P DropInPaths {unit}")
    assert f"holdfast-{purpose}-.service.d/50-holdfast-tasksmax.conf" in dropins


def test_the_machines_disks_are_left_to_the_machine(host: Host) -> None:
    assert not host.file("/etc/udev/rules.d/61-holdfast-io-scheduler.rules").exists


def test_the_backup_file_system_spares_access_times_where_the_host_has_one(host: Host) -> None:
    options = host.run(
        "findmnt --noheadings --output=VFS-OPTIONS --mountpoint=/var/lib/holdfast"
    ).stdout.strip()
    fstab = host.file("/etc/fstab").content_string
    # No file system of its own, where the machine below has no loop devices: then no line either.
    assert ("/var/lib/holdfast" in fstab) is bool(options)
    if options:
        assert {"noatime", "nodiratime"} <= set(options.split(","))
        assert re.search(r"/var/lib/holdfast ext4 \S*noatime,nodiratime", fstab)
