"""The collection as its users have it: installed from one file into an empty folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import command, fleet, hosts
from lab.state import PROJECT
from release.packages import CACHE
from tests.support.installed_collection import Installed

CONTENT = {
    *("CHANGELOG.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md", "changelogs"),
    *("docs", "meta", "playbooks", "plugins", "requirements", "roles", "tests", "wheels"),
}
# The folder of each kind of plugin, and its files.
KINDS = {"module": ("modules", "*.py"), "filter": ("filter", "*.yml"), "lookup": ("lookup", "*.py")}
# As a user writes it: full names of a role and of a filter, in a playbook of their own.
PLAY = """\
- name: Plan a host
  hosts: databases
  gather_facts: false
  tasks:
    - name: Set kernel keys
      ansible.builtin.import_role:
        name: holdfast.holdfast.sysctl
      vars:
        sysctl_profile: none
        sysctl_settings: {vm.swappiness: 7}
    - name: Show the plan
      ansible.builtin.debug:
        msg: "{{ sysctl_report | holdfast.holdfast.audit_counts }}"
"""
INVENTORY = """\
all:
  children:
    databases:
      hosts:
        deb12:
          ansible_connection: containers.podman.podman
          ansible_host: CONTAINER
          ansible_python_interpreter: /usr/bin/python3
  vars:
    backup_runner_wheelhouse_cache: CACHE
    backup_runner_jobs:
      shop:
        source: {kind: postgres, dsn: "host=/run/postgresql dbname=postgres user=holdfast"}
        repository: main
"""


def names(kind: str) -> Sequence[str]:
    """The plugins of a kind in the clone; each file of filters holds several."""
    folder = (
        PROJECT / "plugins" / f"{kind}s".replace("filters", "filter").replace("lookups", "lookup")
    )
    return sorted(path.stem for path in folder.glob("*.yml" if kind == "filter" else "*.py"))


def test_it_holds_what_it_needs_and_nothing_else(installed: Installed) -> None:
    assert {path.name for path in installed.root.iterdir()} == CONTENT
    requirements = {path.name for path in (installed.root / "requirements").iterdir()}
    assert requirements == {"clusters.txt", "installer.txt", "runner.txt"}
    # What `ansible-test` reads, and none of the project's own tests.
    assert {path.name for path in (installed.root / "tests").iterdir()} == {"config.yml", "sanity"}
    assert not list(installed.root.rglob("collections"))
    assert [path for path in installed.root.rglob("*") if path.is_symlink()] == []


def test_its_version_is_that_of_the_runner(installed: Installed) -> None:
    manifest = json.loads((installed.root / "MANIFEST.json").read_text())["collection_info"]
    (wheel,) = (installed.root / "wheels").iterdir()
    assert wheel.name.split("-")[1] == manifest["version"]
    assert manifest["dependencies"] == {}


@pytest.mark.parametrize("kind", KINDS)
def test_every_plugin_is_documented_with_an_example(installed: Installed, kind: str) -> None:
    full = [f"holdfast.holdfast.{name}" for name in names(kind)]
    found: dict[str, Any] = json.loads(installed.run("ansible-doc", "--json", "-t", kind, *full))
    assert sorted(found) == full
    for name, each in found.items():
        assert each["doc"]["short_description"], name
        # An unquoted colon makes a dictionary of a sentence, which ansible-doc cannot show.
        assert all(isinstance(line, str) for line in each["doc"]["description"]), name
        # Nobody can copy an example without full names.
        assert "holdfast.holdfast." in (each["examples"] or ""), name
        assert each["return"], name


def test_its_playbooks_have_full_names_too(installed: Installed) -> None:
    found = [path.stem for path in (installed.root / "playbooks").glob("*.yml")]
    assert {"site", "tune", "deploy", "audit", "undo", "restore"} <= set(found)
    told = installed.run(
        "ansible-playbook", "--syntax-check", *(f"holdfast.holdfast.{name}" for name in found)
    )
    assert told.count(f"playbook: {installed.root}") == len(found)


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A host that holdfast has never met."""
    machines = fleet.read(PROJECT / "tests/packages/inventory")
    hosts.down(machines, limit=["deb12"])
    hosts.up(machines, limit=["deb12"])
    try:
        path = tmp_path_factory.mktemp("inventory") / "hosts.yml"
        text = INVENTORY.replace("CONTAINER", machines.host("deb12").container(machines.network))
        path.write_text(text.replace("CACHE", str(CACHE)))
        yield path
    finally:
        hosts.down(machines, limit=["deb12"])


def test_a_role_plans_from_a_playbook_of_the_user(
    installed: Installed, inventory: Path, tmp_path: Path
) -> None:
    play = tmp_path / "play.yml"
    play.write_text(PLAY)
    told = installed.run("ansible-playbook", "-i", str(inventory), "--check", str(play))
    assert "failed=0" in told
    assert '"PASS"' in told


def test_its_own_wheel_is_deployed(installed: Installed, inventory: Path) -> None:
    """From a folder without the runner's source: nothing could be built here."""
    name, more = "holdfast.holdfast.deploy", ("--tags", "backup_runner,always")
    told = installed.run("ansible-playbook", "-i", str(inventory), name, *more)
    assert "failed=0" in told
    container = yaml.safe_load(inventory.read_text())["all"]["children"]["databases"]
    where = container["hosts"]["deb12"]["ansible_host"]
    said = command.run(["podman", "exec", where, "/usr/local/bin/holdfast", "--version"])
    assert said == "holdfast 0.1.0\n"


def test_its_changes_are_those_of_the_project(installed: Installed) -> None:
    path = installed.root / "changelogs/changelog.yaml"
    installed.run("antsibull-changelog", "lint-changelog-yaml", str(path))
    told = yaml.safe_load(path.read_text())["releases"]
    assert list(told) == [yaml.safe_load((PROJECT / "galaxy.yml").read_text())["version"]]
