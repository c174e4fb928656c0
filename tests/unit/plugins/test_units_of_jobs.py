"""The units that the role makes of its jobs, rendered by Ansible and judged by systemd."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from holdfast.config.drill import BUDGET
from holdfast.config.settings import VERIFY_BUDGET
from holdfast.config.values import parse_duration
from plugins.modules.backup_runner_units import Systemd

# The copy of the project that another user tests has no collections.
pytest.importorskip("ansible_collections.community.general", reason="the role needs its filters")

PROJECT = Path(__file__).parents[3]
ROLE = PROJECT / "roles/backup_runner"
PLAYBOOK = PROJECT / "playbooks/drill.yml"
PLAY = """\
- hosts: localhost
  connection: local
  gather_facts: false
  vars_files: [{role}/defaults/main.yml, {role}/vars/main.yml]
  vars: {{ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}"}}
  tasks:
    - ansible.builtin.copy:
        dest: "{{{{ out }}}}"
        content: >-
          {{{{ {{'units': lookup('ansible.builtin.template', templates) | from_yaml,
                'verify': __backup_runner_verify_budget, 'drill': __backup_runner_drill_budget,
                'folders': __backup_runner_folders}} | to_json }}}}
      vars: {{templates: {role}/templates/units.yaml.j2}}
"""
KEPT = ["db", "holdfast-identity", "other", "ping-url"]
BASE = {"source": {"kind": "postgres"}, "repository": "main", "schedule": "*-*-* 02:00:00"}
PROVEN = {
    **BASE,
    "verify": {"schedule": "*-*-* 05:00:00", "budget": "1h"},
    "drill": {
        "schedule": "Sun 06:00:00",
        "budget": "90m",
        "memory_limit_mb": 1024,
        "folder": "/srv/drill rooms",
    },
}
PASSWORD = {"kind": "postgres", "password": {"credential": "db"}}
JOBS = {
    "plain": BASE,
    "shop": PROVEN | {"source": PASSWORD},
    "by-hand": {**BASE, "drill": {"checks": []}},
}


class Rendered:
    """The role's answer for `JOBS`."""

    def __init__(self, folder: Path) -> None:
        play, out = folder / "play.yml", folder / "out.json"
        play.write_text(PLAY.format(role=ROLE))
        told = {
            "out": str(out),
            "backup_runner_jobs": JOBS,
            "backup_runner_on_failure": ["mail-root@%n.service"],
            "backup_runner_notify": {"watch": {"kind": "ping", "url": {"credential": "ping-url"}}},
            # A value may be a part of a name, which Ansible masks in every answer.
            "backup_runner_secrets": dict.fromkeys([*KEPT, "shared"], "d"),
            "backup_runner_secret_files": ["shared"],
            "__backup_runner_secrets_kept": {"is_sealed": True},
        }
        ended = subprocess.run(
            [
                *(Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,"),
                *("-e", json.dumps(told), play),
            ],
            cwd=PROJECT,
            check=False,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        answer = json.loads(out.read_text())
        self.units: dict[str, str] = answer["units"]
        self.folders: list[dict[str, str]] = answer["folders"]
        self.budgets: tuple[str, str] = (answer["verify"], answer["drill"])

    def lines(self, unit: str) -> list[str]:
        return self.units[f"holdfast-{unit}"].splitlines()


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    return Rendered(tmp_path_factory.mktemp("units"))


def names(rendered: Rendered, job: str) -> list[str]:
    stem = f"-{job}."
    return sorted(each.removeprefix("holdfast-") for each in rendered.units if stem in each)


def test_a_job_gets_what_its_schedules_ask_for_and_no_more(rendered: Rendered) -> None:
    # Any job can be drilled, and only in a drill's own sandbox.
    plain = ["backup-plain.service", "backup-plain.timer", "drill-plain.service"]
    assert names(rendered, "plain") == plain
    assert names(rendered, "shop") == [
        *("backup-shop.service", "backup-shop.timer"),
        *("drill-shop.service", "drill-shop.timer"),
        *("verify-shop.service", "verify-shop.timer"),
    ]
    assert "drill-by-hand.timer" not in names(rendered, "by-hand")


def test_a_job_without_drill_is_drilled_by_name_only_and_in_the_same_sandbox(
    rendered: Rendered,
) -> None:
    def said(job: str) -> set[str]:
        lines = (each.replace(job, "JOB") for each in rendered.lines(f"drill-{job}.service"))
        return {each for each in lines if not each.startswith("#")}

    assert said("plain") < said("by-hand")
    (asked,) = said("by-hand") - said("plain")
    # What drill.yml looks for where it is given no names.
    assert f"if drill_jobs is defined else '{asked}' }}}}" in PLAYBOOK.read_text()


def test_a_service_loads_the_secrets_that_its_job_names_and_only_what_reads_backups_the_identity(
    rendered: Rendered,
) -> None:
    def loaded(unit: str) -> list[str]:
        begin = "LoadCredentialEncrypted="
        lines = [each for each in rendered.lines(unit) if each.startswith(begin)]
        pairs = [each.removeprefix(begin).split(":") for each in lines]
        assert all(path == f"/etc/holdfast/credentials/{name}.cred" for name, path in pairs)
        return [name for name, _ in pairs]

    assert loaded("backup-plain.service") == ["ping-url"]
    assert loaded("backup-shop.service") == ["db", "ping-url"]
    assert loaded("verify-shop.service") == ["db", "holdfast-identity", "ping-url"]
    # A drill needs the repository, and no login to the database.
    assert loaded("drill-shop.service") == ["holdfast-identity", "ping-url"]


def test_the_folder_of_secrets_is_corrected_like_the_others(rendered: Rendered) -> None:
    (folder,) = [each for each in rendered.folders if "credentials" in each["path"]]
    assert list(folder.values()) == ["/etc/holdfast/credentials", "root", "holdfast", "0750"]


def test_systemd_accepts_every_unit(rendered: Rendered) -> None:
    # Not in the PATH of unit tests, most of which must not find a systemd.
    analyze = shutil.which("systemd-analyze", path="/usr/bin:/bin")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed here: apt-get install systemd")

    def run(argv: Sequence[str]) -> tuple[int, str, str]:
        ended = subprocess.run([analyze, *argv[1:]], capture_output=True, text=True, check=False)
        return ended.returncode, ended.stdout, ended.stderr

    # The program of the units is not installed here.
    Systemd(run).judge(rendered.units, is_installed=False)


def test_verify_and_drill_are_as_confined_as_the_backup(rendered: Rendered) -> None:
    differing = (
        "Description",
        "ExecStart",
        "TimeoutStart",
        "Nice",
        "IOSched",
        "MemoryMax",
        "Res",
        "X-",
        "LoadCredential",
    )
    paths = ("RequiresMountsFor", "ReadWritePaths", "SystemCallFilter=mount mount_setattr")

    def same(unit: str) -> list[str]:
        ours = (each for each in rendered.lines(unit) if not each.startswith("#"))
        return [each for each in ours if not each.startswith((*differing, *paths))]

    assert same("verify-shop.service") == same("drill-shop.service") == same("backup-shop.service")
    assert "OnFailure=mail-root@%n.service" in same("drill-shop.service")
    assert any("notify send" in each for each in same("verify-shop.service"))
    for unit in ("verify-shop.service", "backup-shop.service"):
        assert "RestrictNamespaces=true" in rendered.lines(unit)


def test_a_drill_has_its_own_room_limits_and_no_network_for_its_server(rendered: Rendered) -> None:
    drill = rendered.lines("drill-shop.service")
    assert 'ReadWritePaths=/var/lib/holdfast-state /var/lib/holdfast "/srv/drill rooms"' in drill
    assert {"Nice=19", "IOSchedulingClass=idle", "MemoryMax=1536M"} <= set(drill)
    assert "TimeoutStartSec=90m 5min" in drill
    # What `isolated` does must work, and the runner itself may need the network of a repository.
    calls = "SystemCallFilter=mount mount_setattr"
    assert {"RestrictNamespaces=user net mnt", calls} <= set(drill)
    assert not any(each.startswith("PrivateNetwork") for each in drill)
    (room,) = [each for each in rendered.folders if each["path"] == "/srv/drill rooms"]
    assert (room["owner"], room["mode"]) == ("holdfast", "0700")
    assert not any("MemoryMax" in each for each in rendered.lines("drill-by-hand.service"))


def test_a_verification_may_finish_what_it_began_within_its_budget(rendered: Rendered) -> None:
    assert "TimeoutStartSec=1h 2h 5min" in rendered.lines("verify-shop.service")


def test_the_default_budgets_are_those_of_the_runner(rendered: Rendered) -> None:
    assert tuple(map(parse_duration, rendered.budgets)) == (VERIFY_BUDGET, BUDGET)


def test_timers_differ_in_their_schedule_alone(rendered: Rendered) -> None:
    for purpose, schedule in (("verify", "*-*-* 05:00:00"), ("drill", "Sun 06:00:00")):
        timer = rendered.lines(f"{purpose}-shop.timer")
        assert f"OnCalendar={schedule}" in timer
        assert {"RandomizedDelaySec=15min", "Persistent=true"} <= set(timer)
