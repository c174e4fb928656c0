"""The rules of the house about roles: documented once, in the same words everywhere."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.house.project import PROJECT, name_of

ROLES = sorted(path for path in (PROJECT / "roles").iterdir() if path.is_dir())
MAIN_LINES = 60
COMMANDS = {"ansible.builtin.command", "ansible.builtin.shell"}


@cache
def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def defaults(role: Path) -> dict[str, Any]:
    return read(role / "defaults/main.yml") or {}


def options(role: Path) -> dict[str, Any]:
    specs: dict[str, Any] = read(role / "meta/argument_specs.yml")["argument_specs"]
    found: dict[str, Any] = specs["main"]["options"]
    return found


def test_defaults_and_argument_specs_name_the_same_variables() -> None:
    assert [role.name for role in ROLES if set(defaults(role)) != optional(role)] == []


def optional(role: Path) -> set[str]:
    return {name for name, spec in options(role).items() if not spec.get("required")}


def test_defaults_in_argument_specs_are_the_defaults() -> None:
    different = [
        name
        for role in ROLES
        for name, spec in options(role).items()
        if "default" in spec and spec["default"] != defaults(role)[name]
    ]
    assert different == []


def test_every_variable_has_a_description_and_a_line_in_the_readme() -> None:
    undocumented = [
        name
        for role in ROLES
        for name, spec in options(role).items()
        if not name.startswith(f"{role.name}_")
        or not spec.get("description")
        or f"`{name}`" not in (role / "README.md").read_text()
    ]
    assert undocumented == []


def test_task_and_file_limits_reach_every_service_of_a_job() -> None:
    variables = read(PROJECT / "roles/backup_runner/vars/main.yml")
    wanted = {f"{prefix}.service" for prefix in variables["__backup_runner_unit_prefixes"]}
    for role in ("tasksmax", "limits"):
        assert wanted <= set(defaults(PROJECT / "roles" / role)[f"{role}_services"]), role


def test_main_is_a_table_of_contents() -> None:
    mains = [role / "tasks/main.yml" for role in ROLES]
    long = [name_of(path) for path in mains if len(path.read_text().splitlines()) > MAIN_LINES]
    assert long == []


def test_errors_are_never_ignored_and_commands_say_what_they_change() -> None:
    silent = [
        (name_of(path), task.get("name"))
        for path in PROJECT.glob("roles/*/tasks/*.yml")
        for task in _tasks(read(path) or [])
        if "ignore_errors" in task or (COMMANDS & set(task) and "changed_when" not in task)
    ]
    assert silent == []


def test_templates_say_who_manages_what_they_make() -> None:
    templates = PROJECT.glob("roles/*/templates/*.j2")
    assert [name_of(path) for path in templates if "ansible_managed" not in path.read_text()] == []


LOOKUP = "{{ lookup('holdfast.holdfast.fleet', "


def test_every_play_takes_its_hosts_through_the_lookup_that_refuses_an_empty_match() -> None:
    for path in sorted((PROJECT / "playbooks").glob("*.yml")):
        for play in read(path):
            hosts = play.get("hosts", "")
            # The group that an earlier play created cannot be misspelt.
            assert "{{" not in hosts or hosts.startswith(LOOKUP), path.name
            assert "{{" in hosts or hosts in ("", "fleet_reachable"), path.name


def test_no_playbook_orders_hosts_by_who_answered_first() -> None:
    """A canary is the first host of the inventory; `group_by` adds hosts as their answers come."""
    assert [
        f"{path.name}: {task.get('name')}"
        for path in sorted((PROJECT / "playbooks").glob("*.yml"))
        for play in read(path)
        for task in _tasks(play.get("tasks", []))
        if {"group_by", "ansible.builtin.group_by"} & set(task)
    ] == []


def _tasks(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for task in tasks:
        found.append(task)
        for nested in ("block", "rescue", "always"):
            found.extend(_tasks(task.get(nested, [])))
    return found
