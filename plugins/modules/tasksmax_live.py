"""Ansible module: probe and verify how many tasks services may have, in the live control groups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.control_groups import (
    TaskCeiling,
    group_below,
    lowest,
    pids_mount,
    task_ceilings,
)
from ansible.module_utils.mount_table import MOUNT_TABLE, Mount, parse_mounts
from ansible.module_utils.systemd_units import SystemdSilent, Unit, instances_of, loaded_units
from ansible.module_utils.tuning_report import Row, as_dicts, refusals, settled

DOCUMENTATION = r"""
module: tasksmax_live
short_description: Probe and verify TasksMax in the live control groups
description:
- Reads C(pids.max) of the unit's control group (cgroup version 1, 2 or both) and of every ancestor.
options:
  units:
    description: Services; a prefix such as C(x-.service) stands for all that begin so.
    type: list
    elements: str
    required: true
  maximum:
    description: Wanted number of tasks.
    type: int
    required: true
  action:
    description: What to do.
    type: str
    choices:
    - probe
    - verify
    required: true
  before:
    description: Rows of the probe; verify tells from them what changed.
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
    maximum: 4096
"""
RETURN = r"""
rows:
  description: One row per service.
  returned: always
  type: list
  elements: dict
"""
ARGUMENTS: dict[str, dict[str, Any]] = {
    "units": {"type": "list", "elements": "str", "required": True},
    "maximum": {"type": "int", "required": True},
    "action": {"type": "str", "choices": ["probe", "verify"], "required": True},
    "before": {"type": "list", "elements": "dict", "default": []},
}


def rows_for(name: str, units: list[Unit], *, wanted: str, mount: Mount | None) -> list[Row]:
    """A row for each loaded unit that `name` stands for; one that says so where there is none."""
    if units:
        return [_row(unit, wanted=wanted, mount=mount) for unit in units]
    # A prefix is waiting for units to come; a plain name is a service that this host does not have.
    row = Row(role="tasksmax", key=f"{name} TasksMax", wanted=wanted, live="", state="skipped")
    if instances_of(name) == name:
        return [replace(row, reason="no such service on this host")]
    return [replace(row, state="pending", reason="no such service yet; its drop-in waits for it")]


def main() -> None:
    """Answer with rows; when verifying, fail where one is not what was asked for."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    mount = pids_mount(parse_mounts(Path(MOUNT_TABLE).read_text()))
    wanted, rows = str(module.params["maximum"]), []
    try:
        for name in module.params["units"]:
            units = loaded_units(module.run_command, [instances_of(name)])
            rows += rows_for(name, units, wanted=wanted, mount=mount)
    except SystemdSilent as error:
        module.fail_json(msg=str(error))
    if module.params["action"] == "verify":
        rows = settled(rows, before=module.params["before"], check_mode=module.check_mode)
        if failed := refusals(rows):
            module.fail_json(msg="; ".join(failed), rows=as_dicts(rows))
    module.exit_json(changed=False, rows=as_dicts(rows))


def _row(unit: Unit, *, wanted: str, mount: Mount | None) -> Row:
    row = Row(role="tasksmax", key=f"{unit.name} TasksMax", wanted=wanted, live="", state="differs")
    told = unit.properties["TasksMax"]
    if told != wanted:
        return replace(row, live=told)
    if not unit.active or not unit.control_group:
        return replace(row, live=told, state="ok", reason="not running: holds from its next start")
    ceilings = task_ceilings(mount, unit.control_group) if mount else []
    if mount is None or not ceilings or ceilings[0].group != group_below(mount, unit.control_group):
        return replace(row, reason=f"'{unit.control_group}' has no pids.max: nothing enforces it")
    if ceilings[0].maximum != wanted:
        return replace(row, live=ceilings[0].maximum)
    return replace(row, live=wanted, state="ok", reason=_tighter_ancestor(ceilings))


def _tighter_ancestor(ceilings: list[TaskCeiling]) -> str:
    floor = lowest(ceilings)
    if floor is None or floor.maximum == ceilings[0].maximum:
        return ""
    return f"its ancestor '{floor.group}' allows no more than {floor.maximum}"


if __name__ == "__main__":
    main()
