"""The Debian package on a fresh host: installed without a network, used, and removed again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import command, fleet, hosts
from lab.errors import LabError
from lab.state import PROJECT
from tests.packages.conftest import DEBIAN

INVENTORY = PROJECT / "tests/packages/inventory"
AS_RUNNER = "runuser -u holdfast --"
CONFIG = """\
state_directory: /var/lib/holdfast-state
repositories:
  main: {kind: local, path: /var/lib/holdfast}
jobs:
  my-shop:
    source: {kind: postgres, dsn: "host=/run/postgresql dbname=shop user=holdfast"}
    repository: main
    retention: {last: 3}
  cluster:
    source: {kind: postgres, method: physical, dsn: "host=/run/postgresql user=holdfast"}
    repository: main
"""
DATABASE = """
CREATE ROLE holdfast LOGIN;
GRANT pg_read_all_data TO holdfast;
CREATE DATABASE shop;
\\c shop
CREATE TABLE orders AS SELECT n, md5(n::text) AS note FROM generate_series(1, 5000) n;
"""
TOTAL = "SELECT count(*) || ' ' || sum(hashtext(note)) FROM orders"
KEPT = "holdfast: kept /etc/holdfast /var/lib/holdfast /var/lib/holdfast-state"


class Host:
    """A container with systemd and a database server; commands run as root."""

    def __init__(self, container: str) -> None:
        self._container = container

    def run(self, line: str, *, feed: str = "") -> str:
        argv = ["podman", "exec", "-i", self._container, "bash", "-c", line]
        return command.run(argv, feed=feed.encode())

    def copy(self, path: Path, to: str) -> None:
        command.run(["podman", "cp", str(path), f"{self._container}:{to}"])

    def query(self, database: str, statement: str) -> str:
        return self.run(f"runuser -u postgres -- psql -Atd {database}", feed=statement).strip()


@pytest.fixture(scope="module", params=DEBIAN)
def host(request: pytest.FixtureRequest, dist: Path) -> Iterator[Host]:
    """A fresh host on which the package was installed."""
    machines, name = fleet.read(INVENTORY), f"deb{request.param}"
    hosts.down(machines, limit=[name])
    hosts.up(machines, limit=[name])
    try:
        host = Host(machines.host(name).container(machines.network))
        (package,) = dist.glob(f"*+deb{request.param}_*.deb")
        host.copy(package, "/root/holdfast.deb")
        # Without a way to the outside, whatever the network of the containers allows.
        host.run("unshare --net dpkg -i /root/holdfast.deb")
        yield host
    finally:
        hosts.down(machines, limit=[name])


def test_the_command_its_manual_and_its_completion_are_there(host: Host) -> None:
    assert host.run("cd / && holdfast --version") == "holdfast 0.1.0\n"
    assert host.run("zcat /usr/share/man/man1/holdfast-backup.1.gz").startswith(
        '.TH "HOLDFAST\\-BACKUP"'
    )
    complete = (
        "source /usr/share/bash-completion/completions/holdfast; COMP_WORDS=(holdfast back); "
        "COMP_CWORD=1; _holdfast_completion holdfast back; echo ${COMPREPLY[@]}"
    )
    assert host.run(complete) == "backup\n"


def test_files_are_those_of_the_package_and_no_job_starts_by_itself(host: Host) -> None:
    assert host.run("dpkg --verify holdfast") == ""
    listed = json.loads(host.run("systemctl list-unit-files 'holdfast*' --output=json"))
    assert len(listed) == 10
    assert {each["state"] for each in listed} == {"static", "disabled"}
    names = " ".join(each["unit_file"].replace("@.", "@shop.") for each in listed)
    assert host.run(f"systemd-analyze verify {names} 2>&1") == ""


def test_a_job_runs_in_its_unit_and_its_backup_comes_back(host: Host) -> None:
    host.run("runuser -u postgres -- psql -qv ON_ERROR_STOP=1", feed=DATABASE)
    host.run("cat >/etc/holdfast/holdfast.yaml", feed=CONFIG)
    host.run("chmod 0640 /etc/holdfast/holdfast.yaml && chgrp holdfast /etc/holdfast/holdfast.yaml")
    # The package holds numpy, which the second job needs.
    assert "can be used: jobs my-shop, cluster" in host.run(
        f"{AS_RUNNER} holdfast config check /etc/holdfast/holdfast.yaml"
    )
    host.run("cd / && runuser -u holdfast -- holdfast check my-shop")
    host.run("systemctl start holdfast-backup@my-shop.service")
    host.run("systemctl start holdfast-verify@my-shop.service")
    status = json.loads(host.run(f"cd / && {AS_RUNNER} holdfast status my-shop --json"))
    assert status["jobs"][0]["backups"] == 1
    before = host.query("shop", TOTAL)
    host.query("postgres", "ALTER ROLE holdfast SUPERUSER")
    host.query("postgres", "CREATE DATABASE again")
    to = "postgresql:///again?host=/run/postgresql"
    host.run(f"cd / && {AS_RUNNER} holdfast restore my-shop/latest --to '{to}'")
    assert host.query("again", TOTAL) == before


def test_the_timer_of_an_instance_is_that_of_the_job(host: Host) -> None:
    host.run("systemctl enable --now holdfast-backup@my-shop.timer 2>&1")
    status = json.loads(host.run(f"cd / && {AS_RUNNER} holdfast status my-shop --json"))
    assert status["jobs"][0]["next_run"].endswith("+00:00")


def test_removal_stops_its_timers_and_a_purge_keeps_backups_and_keys(host: Host) -> None:
    """Last: what it leaves is all that is left."""
    host.run("dpkg -r holdfast")
    with pytest.raises(LabError):
        host.run("systemctl is-active holdfast-backup@my-shop.timer")
    assert host.run("ls -d /usr/lib/holdfast /usr/bin/holdfast 2>/dev/null; true") == ""
    assert KEPT in host.run("dpkg -P holdfast")
    assert host.run("find /var/lib/holdfast -name 'manifest*.json' | wc -l") != "0\n"
    assert "my-shop" in host.run("cat /etc/holdfast/holdfast.yaml")
    assert host.run("ls /etc/systemd/system/timers.target.wants | grep -c holdfast; true") == "0\n"
