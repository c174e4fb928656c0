"""The rules of the house about roles: documented once, in the same words everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
ROLES = sorted(path for path in (PROJECT / "roles").iterdir() if path.is_dir())
TASK_FILES = sorted(PROJECT.glob("roles/*/tasks/*.yml"))
MAIN_LINES = 60


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def options(role: Path) -> dict[str, Any]:
    specs: dict[str, Any] = read(role / "meta/argument_specs.yml")["argument_specs"]
    found: dict[str, Any] = specs["main"]["options"]
    return found


def by_name(path: Path) -> str:
    return str(path.relative_to(PROJECT / "roles"))


@pytest.mark.parametrize("role", ROLES, ids=by_name)
def test_defaults_and_argument_specs_name_the_same_variables(role: Path) -> None:
    defaults = read(role / "defaults/main.yml") or {}
    optional = {name for name, spec in options(role).items() if not spec.get("required")}
    assert set(defaults) == optional


@pytest.mark.parametrize("role", ROLES, ids=by_name)
def test_defaults_in_argument_specs_are_the_defaults(role: Path) -> None:
    defaults = read(role / "defaults/main.yml") or {}
    stated = {name: spec["default"] for name, spec in options(role).items() if "default" in spec}
    assert stated == {name: defaults[name] for name in stated}


@pytest.mark.parametrize("role", ROLES, ids=by_name)
def test_every_variable_has_a_description_and_a_line_in_the_readme(role: Path) -> None:
    readme = (role / "README.md").read_text()
    for name, spec in options(role).items():
        assert name.startswith(f"{role.name}_"), name
        assert spec.get("description"), name
        assert f"`{name}`" in readme, name


@pytest.mark.parametrize("role", ROLES, ids=by_name)
def test_main_is_a_table_of_contents(role: Path) -> None:
    assert len((role / "tasks/main.yml").read_text().splitlines()) <= MAIN_LINES


@pytest.mark.parametrize("path", TASK_FILES, ids=by_name)
def test_errors_are_never_ignored_and_commands_say_what_they_change(path: Path) -> None:
    for task in _tasks(read(path) or []):
        assert "ignore_errors" not in task
        if {"ansible.builtin.command", "ansible.builtin.shell"} & set(task):
            assert "changed_when" in task, task.get("name")


@pytest.mark.parametrize("path", sorted(PROJECT.glob("roles/*/templates/*.j2")), ids=by_name)
def test_templates_say_who_manages_what_they_make(path: Path) -> None:
    assert "ansible_managed" in path.read_text()


def test_every_play_takes_its_hosts_through_the_lookup_that_refuses_an_empty_match() -> None:
    for path in sorted((PROJECT / "playbooks").glob("*.yml")):
        for play in read(path):
            hosts = play.get("hosts", "")
            # A group that the play before has made is never misspelt.
            assert "{{" not in hosts or hosts.startswith("{{ lookup('fleet', "), path.name
            assert "{{" in hosts or hosts in ("", "fleet_reachable"), path.name


def _tasks(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for task in tasks:
        found.append(task)
        for nested in ("block", "rescue", "always"):
            found.extend(_tasks(task.get(nested, [])))
    return found
