"""The deployed runner over ssh: the rights of each user, and the jobs as systemd sees them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml
from testinfra.host import Host

SCENARIO = Path(__file__).parents[1]
PROJECT = SCENARIO.parents[1]
JOBS = ("chinook", "shop")
# What a host in the group `mysql` has besides.
JOBS_OF_BOTH = (*JOBS, "stock")
CONFIG = "/etc/holdfast/holdfast.yaml"
REPOSITORY = "/var/lib/holdfast"
STATE = "/var/lib/holdfast-state"
SESSIONS = "/run/holdfast-sessiond/socket"
AS_BACKUP = "setpriv --reuid=holdfast --regid=holdfast --init-groups --reset-env"
AS_NOBODY = "setpriv --reuid=nobody --regid=nogroup --clear-groups --reset-env"
# The client of each server, and a statement that needs more rights than a backup's.
LOGIN = {
    "postgres": "psql --no-psqlrc --host=/run/postgresql --username={user} --dbname=shop --command",
    "mariadb": "mariadb --no-defaults --protocol=socket --user={user} --database=shop --execute",
}
FORBIDDEN = {
    "postgres": "CREATE TABLE public.mine (id integer)",
    "mariadb": "CREATE TABLE mine (id integer)",
}


def groups() -> dict[str, Any]:
    """The database groups of the inventory."""
    hosts = yaml.safe_load((SCENARIO / "inventory/hosts.yml").read_text())["all"]["children"]
    found: dict[str, Any] = hosts["databases"]["children"]
    return found


BOTH = groups()["mysql"]["hosts"]
HOSTS = {
    name: {**variables, "database": group}
    for group, content in groups().items()
    if group != "mysql"
    for name, variables in content["hosts"].items()
}


# The same hosts that molecule.yml limits its playbooks to.
PLAYED_ON = [
    name for name in os.environ.get("HOLDFAST_MOLECULE_HOSTS", "").split(",") if name
] or sorted(HOSTS)


@pytest.fixture(params=PLAYED_ON)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def jobs(name: str) -> tuple[str, ...]:
    """A host in two groups has the jobs of both."""
    return JOBS_OF_BOTH if name in BOTH else JOBS


@pytest.fixture
def database(name: str) -> str:
    return str(HOSTS[name]["database"])


@pytest.fixture
def host(name: str) -> Host:
    lab = yaml.safe_load((SCENARIO / "inventory/group_vars/all/lab.yml").read_text())
    known = PROJECT / ".lab/fleets" / lab["lab_network"] / "known_hosts"
    return testinfra.get_host(
        f"ssh://root@{HOSTS[name]['ansible_host']}",
        ssh_identity_file=str(PROJECT / ".lab/ssh/id_ed25519"),
        ssh_extra_args=f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes",
        # One connection for all tests of a host.
        controlpersist=60,
    )


def properties(host: Host, unit: str) -> dict[str, str]:
    """What systemd itself says about a unit."""
    shown = host.check_output("systemctl show %s", unit)
    return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)


def test_nobody_can_log_in_as_the_backups_user(host: Host) -> None:
    user = host.user("holdfast")
    assert user.shell == "/usr/sbin/nologin"
    assert user.home == STATE
    assert user.uid < 1000
    assert host.run("su -s /bin/sh nobody -c 'su holdfast -c id' </dev/null").failed


@pytest.mark.parametrize("folder", [REPOSITORY, STATE])
def test_backups_and_run_records_belong_to_the_backups_user_alone(host: Host, folder: str) -> None:
    found = host.file(folder)
    assert (found.user, found.group, found.mode) == ("holdfast", "holdfast", 0o700)


def test_the_configuration_is_for_root_and_the_backups_group_only(host: Host) -> None:
    found = host.file(CONFIG)
    assert (found.user, found.group, found.mode) == ("root", "holdfast", 0o640)
    assert host.run(f"{AS_NOBODY} cat {CONFIG}").failed
    assert host.run(f"{AS_BACKUP} test -w {CONFIG}").failed


def test_the_release_in_use_is_complete_and_nobody_but_root_can_change_it(host: Host) -> None:
    release = host.check_output("readlink /opt/holdfast/current")
    assert host.file(f"/opt/holdfast/{release}/.complete").exists
    assert not host.file(f"/opt/holdfast/{release}/wheels").exists
    assert (
        host.check_output(f"find /opt/holdfast/{release} ! -user root -o -perm /022 ! -type l")
        == ""
    )
    version = host.check_output("holdfast --version")
    assert release.startswith(version.split()[-1] + "-")


def test_what_a_backup_imports_is_compiled_already(host: Host) -> None:
    for module in ("holdfast.operations.backup.job", "psycopg", "pymysql"):
        asked = f"import {module} as it; print(it.__cached__)"
        cached = host.check_output("/opt/holdfast/current/bin/python -B -c %s", asked)
        assert host.file(cached).exists, module


def test_every_job_has_a_timer_that_will_fire(host: Host, jobs: tuple[str, ...]) -> None:
    for job in jobs:
        timer = properties(host, f"holdfast-backup-{job}.timer")
        assert (timer["ActiveState"], timer["UnitFileState"]) == ("active", "enabled")
        assert timer["Persistent"] == "yes"
        assert timer["NextElapseUSecRealtime"]


def test_a_backup_runs_without_any_right_it_does_not_need(host: Host) -> None:
    for job in JOBS:
        service = properties(host, f"holdfast-backup-{job}.service")
        assert (service["User"], service["Type"]) == ("holdfast", "oneshot")
        assert service["ProtectSystem"] == "strict"
        assert service["ReadWritePaths"].split() == [STATE, REPOSITORY]
        assert service["NoNewPrivileges"] == "yes"
        assert service.get("CapabilityBoundingSet", "") == ""
        assert service["SuccessExitStatus"] == "40"


def test_systemd_finds_nothing_wrong_with_the_units(host: Host) -> None:
    units = " ".join(
        f"holdfast-backup-{job}.{kind}" for job in JOBS for kind in ("service", "timer")
    )
    judged = host.run(f"systemd-analyze --man=no verify {units}")
    assert judged.succeeded
    assert "holdfast" not in judged.stderr


def test_the_backups_user_gets_in_without_a_password_and_cannot_write(
    host: Host, database: str
) -> None:
    login = f"{AS_BACKUP} {LOGIN[database].format(user='holdfast')}"
    assert host.run(f"{login} 'SELECT 1'").succeeded
    refused = host.run(f"{login} '{FORBIDDEN[database]}'")
    assert refused.failed
    assert "denied" in refused.stderr


def test_no_other_user_gets_in_as_the_backups_user(host: Host, database: str) -> None:
    assert host.run(f"{AS_NOBODY} {LOGIN[database].format(user='holdfast')} 'SELECT 1'").failed


def test_the_server_knows_no_password_of_the_backups_user(host: Host, database: str) -> None:
    if database == "postgres":
        asked = "SELECT rolpassword, rolsuper FROM pg_authid WHERE rolname = $$holdfast$$"
        login = "cd / && runuser -u postgres -- psql --no-align --tuples-only --command"
        assert host.check_output(f"{login} '{asked}'") == "|f"
    else:
        told = host.check_output(
            "mariadb --skip-column-names --execute 'SHOW CREATE USER holdfast@localhost'"
        )
        assert told.endswith("IDENTIFIED VIA unix_socket")


def test_only_root_may_log_in_to_restore(host: Host, database: str) -> None:
    user = {"postgres": "holdfast_restore", "mariadb": "root"}[database]
    login = LOGIN[database].format(user=user)
    assert host.run(f"{login} 'SELECT 1'").succeeded
    assert host.run(f"{AS_BACKUP} {login} 'SELECT 1'").failed


def test_the_runner_finds_every_job_ready(host: Host, jobs: tuple[str, ...]) -> None:
    answer = json.loads(host.check_output(f"{AS_BACKUP} holdfast check --json"))
    assert {job["job"] for job in answer["jobs"]} == set(jobs)
    assert [
        finding for job in answer["jobs"] for finding in job["findings"] if finding["problem"]
    ] == []


def test_a_configuration_with_a_mistake_is_named_and_not_taken(host: Host) -> None:
    typo = "s/repository:/repositry:/"  # codespell:ignore repositry
    host.check_output(f"sed {typo} {CONFIG} > /run/mistaken.yaml")
    mistaken = host.run("holdfast config check /run/mistaken.yaml")
    assert mistaken.rc == 10
    assert "repositry" in mistaken.stderr  # codespell:ignore repositry
    assert "repository" in mistaken.stderr


def test_sessions_are_held_where_that_is_wanted_by_a_unit_with_no_right_to_spare(
    host: Host, name: str
) -> None:
    socket = properties(host, "holdfast-sessiond.socket")
    if not HOSTS[name].get("backup_runner_sessions_enabled"):
        assert socket["LoadState"] == "not-found"
        assert not host.file(SESSIONS).exists
        return
    assert (socket["ActiveState"], socket["UnitFileState"]) == ("active", "enabled")
    found = host.file(SESSIONS)
    assert (found.user, found.group, found.mode) == ("holdfast", "holdfast", 0o660)
    # The first request starts the daemon.
    assert (
        json.loads(host.check_output(f"{AS_BACKUP} holdfast session list --json"))["sessions"] == []
    )
    service = properties(host, "holdfast-sessiond.service")
    assert (service["ActiveState"], service["User"]) == ("active", "holdfast")
    assert (service["NotifyAccess"], service["WatchdogUSec"]) == ("main", "1min")
    assert (service["ProtectSystem"], service["NoNewPrivileges"]) == ("strict", "yes")
    assert service["ReadWritePaths"].split() == [STATE]
    assert service.get("CapabilityBoundingSet", "") == ""


def test_a_session_outlives_the_command_that_began_it_and_strangers_get_nowhere(
    host: Host, name: str
) -> None:
    if not HOSTS[name].get("backup_runner_sessions_enabled"):
        assert host.run(f"{AS_BACKUP} holdfast session list").rc == 66
        return
    begin = f"{AS_BACKUP} holdfast session begin --job shop --ttl 5m --json"
    session = json.loads(host.check_output(begin))
    session_id = session["session_id"]
    assert (session["kind"], session["state"]) == ("snapshot", "open")
    # Strangers may not read the configuration, so they use one of their own.
    own = "/run/stranger.yaml"
    host.check_output(f"printf 'repositories: {{}}\\njobs: {{}}\\n' > {own}; chmod 0644 {own}")
    for act in ("list", f"join {session_id}", f"end {session_id}", f"abort {session_id}"):
        refused = host.run(f"{AS_NOBODY} holdfast --config {own} session {act}")
        assert (refused.rc, "Permission denied" in refused.stderr) == (61, True)
    assert json.loads(host.check_output(f"{AS_BACKUP} holdfast session join {session_id} --json"))
    ended = json.loads(host.check_output(f"holdfast session end {session_id} --json"))
    assert ended["state"] == "ended"


def test_rows_travel_through_a_pipe_where_the_server_may_write_one(host: Host, name: str) -> None:
    """The backup that the timer started ran in a unit with private folders, and the server runs as
    another user."""
    shown = json.loads(host.check_output("holdfast show shop/latest --json"))
    ways = {
        part["details"].get("transport")
        for part in shown["manifest"]["parts"]
        # Rows of packed tables never go through the pipe.
        if part["kind"] == "data" and part["relation"]
    }
    if HOSTS[name]["database"] != "postgres":
        assert ways == {None}
    elif "pg_write_server_files" in HOSTS[name].get("postgres_access_memberships", []):
        assert ways == {"fifo"}
    else:
        assert ways == {"wire"}
    assert host.run("find /run/holdfast /tmp -name '*.pipe'").stdout == ""


def test_only_backups_can_read_the_signing_key(host: Host) -> None:
    key = host.file("/etc/holdfast/signing.key")
    assert (key.user, key.group, key.mode) == ("root", "holdfast", 0o640)
    assert host.run(f"{AS_NOBODY} cat /etc/holdfast/signing.key").failed
    shown = host.run(f"{AS_BACKUP} holdfast keys public /etc/holdfast/signing.key")
    assert shown.stdout.startswith("ed25519:")
    listed = host.run(f"{AS_BACKUP} holdfast list shop --json")
    assert json.loads(listed.stdout)["damaged"] == []
