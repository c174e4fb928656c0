"""Ansible module: probe and verify the task limits of services, in the live control groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.control_groups import (
    group_below,
    lowest,
    pids_mount,
    task_ceilings,
)
from ansible.module_utils.host_profiles import task_choice, task_danger
from ansible.module_utils.kernel_profiles import PROFILES
from ansible.module_utils.mount_table import MOUNT_TABLE, Mount, parse_mounts
from ansible.module_utils.original_state import original_file, original_units, unrecorded
from ansible.module_utils.systemd_units import SystemdSilent, Unit, instances_of, loaded_units
from ansible.module_utils.tuning_report import Choice, Row, as_dicts, concluded, explained
from ansible.module_utils.unit_files import outvoted, said_by

DOCUMENTATION = r"""
module: tasksmax_live
short_description: Probe and verify TasksMax in the live control groups
description:
- Reads C(pids.max) of the unit's control group (cgroup version 1, 2 or both) and of every ancestor.
options:
  units:
    description: Services; a prefix such as C(x-.service) is all that begin with it.
    type: list
    elements: str
    required: true
  maximum:
    description: Wanted number of tasks; C(auto) is the profile's.
    type: str
    required: true
  slots:
    description: How many slots the runner may take.
    type: int
    required: true
  tasks:
    description: How many tasks the runner needs for these slots, by its own formula.
    type: int
    required: true
  profile:
    description: The profile for a number that is not given.
    type: str
    choices: [recipe, postgresql, mariadb, backup_throughput, none]
    default: none
  dropin:
    description: Name of our drop-in.
    type: str
    required: true
  report:
    description: Only report differences; verify then never fails.
    type: bool
    default: false
  action:
    description: The step to run.
    type: str
    choices:
    - probe
    - verify
    required: true
  before:
    description: Rows of the probe, from which verify derives the changes.
    type: list
    elements: dict
    default: []
author: holdfast
"""
EXAMPLES = r"""
- name: Read how many tasks cron may have
  tasksmax_live:
    action: probe
    units:
      - cron.service
    maximum: auto
    slots: 10
    tasks: 130
    profile: recipe
    dropin: 50-holdfast-tasksmax.conf
"""
RETURN = r"""
rows:
  description: One row per service.
  returned: always
  type: list
  elements: dict
maximum:
  description: The limit for the drop-ins; empty if none is wanted.
  returned: always
  type: str
unrecorded:
  description: The original state that the snapshot does not hold yet.
  returned: always
  type: list
  elements: dict
"""
ARGUMENTS: dict[str, dict[str, Any]] = {
    "units": {"type": "list", "elements": "str", "required": True},
    "maximum": {"type": "str", "required": True},
    "slots": {"type": "int", "required": True},
    "tasks": {"type": "int", "required": True},
    "profile": {"type": "str", "choices": list(PROFILES), "default": "none"},
    "dropin": {"type": "str", "required": True},
    "report": {"type": "bool", "default": False},
    "action": {"type": "str", "choices": ["probe", "verify"], "required": True},
    "before": {"type": "list", "elements": "dict", "default": []},
}


DROPINS = Path("/etc/systemd/system")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The wanted limit, the tasks that the runner needs, and the name of our drop-in."""

    choice: Choice
    slots: int
    tasks: int
    dropin: str
    mount: Mount | None

    def rows_for(self, name: str, units: list[Unit]) -> list[Row]:
        """One row per loaded unit that `name` matches; if there is none, a row that says so."""
        if units:
            return [explained(self._row(unit), self.choice) for unit in units]
        # A prefix may get units later; a plain name is a service that this host does not have.
        plain = instances_of(name) == name
        reason = (
            "no such service on this host" if plain else "no such service yet; its drop-in waits"
        )
        row = Row(role="tasksmax", key=f"{name} TasksMax", wanted=self.choice.value, live="",
                  state="skipped", reason=reason)  # fmt: skip
        return [explained(row, self.choice)]

    def _row(self, unit: Unit) -> Row:
        told, wanted = unit.properties["TasksMax"], self.choice.value
        paths = unit.properties.get("DropInPaths", "").split()
        ours = next((path for path in paths if Path(path).name == self.dropin), "")
        row = Row(
            role="tasksmax",
            key=f"{unit.name} TasksMax",
            wanted=wanted,
            live=told,
            state="differs",
            file=said_by(Path(ours), "TasksMax") if ours else "",
            boot=told,
        )
        if told != wanted or row.file != wanted:
            return replace(row, reason=outvoted(unit, "TasksMax", self.dropin))
        if not unit.active or not unit.control_group:
            return replace(row, state="ok", reason="not running: applies from its next start")
        return self._in_groups(row, unit)

    def _in_groups(self, row: Row, unit: Unit) -> Row:
        ceilings = task_ceilings(self.mount, unit.control_group) if self.mount else []
        own = group_below(self.mount, unit.control_group) if self.mount else ""
        if not ceilings or ceilings[0].group != own:
            reason = f"'{unit.control_group}' has no pids.max: nothing enforces it"
            return replace(row, live="", reason=reason)
        if ceilings[0].maximum != row.wanted:
            return replace(row, live=ceilings[0].maximum)
        floor = lowest(ceilings)
        if floor is None or floor.maximum == ceilings[0].maximum:
            return replace(row, state="ok")
        reason = f"its ancestor '{floor.group}' allows no more than {floor.maximum}"
        if int(floor.maximum) < self.tasks:
            return replace(row, reason=f"{reason}; {self.slots} slots need {self.tasks}")
        return replace(row, state="ok", reason=reason)


def main() -> None:
    """Answer with rows; when verifying, fail if a row is not as wanted."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    needs = {name: module.params[name] for name in ("slots", "tasks")}
    choice = task_choice(module.params["profile"], module.params["maximum"], **needs)
    if choice and (danger := task_danger(choice, **needs)):
        module.fail_json(msg=danger)
    if choice is None:
        module.exit_json(changed=False, rows=[], maximum="", unrecorded=[])
        return
    mount = pids_mount(parse_mounts(Path(MOUNT_TABLE).read_text()))
    ceiling = Ceiling(choice=choice, dropin=module.params["dropin"], mount=mount, **needs)
    try:
        module.exit_json(**_answer(module, ceiling))
    except SystemdSilent as error:
        module.fail_json(msg=str(error))


def _answer(module: AnsibleModule, ceiling: Ceiling) -> dict[str, Any]:
    rows, originals = [], []
    for name in module.params["units"]:
        units = loaded_units(module.run_command, [instances_of(name)])
        rows += ceiling.rows_for(name, units)
        originals += original_file(DROPINS / f"{name}.d" / ceiling.dropin)
        originals += original_units(units, "TasksMax", dropin=ceiling.dropin)
    if module.params["action"] == "verify":
        rows = concluded(module, rows)
    return {
        "changed": False,
        "rows": as_dicts(rows),
        "maximum": ceiling.choice.value,
        "unrecorded": unrecorded("tasksmax", originals),
    }


if __name__ == "__main__":
    main()
