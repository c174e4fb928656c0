"""Ansible module: probe and verify the task limits of services, in the live control groups."""

from __future__ import annotations

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
  dropin_head:
    description: The beginning of our drop-ins.
    type: str
    default: ""
extends_documentation_fragment: holdfast.holdfast.tuning_steps
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Read how many tasks cron may have
  holdfast.holdfast.tasksmax_live:
    steps: [preflight]
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
waiting:
  description: Whether something is to be changed, and C(may_change) did not allow it.
  returned: always
  type: bool
snapshot:
  description: The whole snapshot of the role, for a copy on the control node.
  returned: when originals were added, or C(waiting)
  type: dict
machine:
  description: The identity of the host, independent of the inventory.
  returned: when originals were added, or C(waiting)
  type: str
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.control_groups import (
    group_below,
    lowest,
    pids_mount,
    task_ceilings,
)
from ..module_utils.host_profiles import task_choice, task_danger
from ..module_utils.kernel_profiles import PROFILES
from ..module_utils.mount_table import MOUNT_TABLE, Mount, parse_mounts
from ..module_utils.original_state import original_file, original_units
from ..module_utils.systemd_units import (
    Run,
    SystemdSilent,
    Unit,
    instances_of,
    loaded_units,
)
from ..module_utils.tuning_report import Choice, Row, explained
from ..module_utils.tuning_steps import (
    ARGUMENTS as STEP_ARGUMENTS,
    Changes,
    CommandFailed,
    Seen,
    TuningRole,
    carry_out,
)
from ..module_utils.unit_files import outvoted, said_by
from ..module_utils.wanted_files import WantedFile, WantedFolder, headed

ARGUMENTS: dict[str, dict[str, Any]] = {
    "units": {"type": "list", "elements": "str", "required": True},
    "maximum": {"type": "str", "required": True},
    "slots": {"type": "int", "required": True},
    "tasks": {"type": "int", "required": True},
    "profile": {"type": "str", "choices": list(PROFILES), "default": "none"},
    "dropin": {"type": "str", "required": True},
    "dropin_head": {"type": "str", "default": ""},
    **STEP_ARGUMENTS,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLimits(TuningRole):
    """The task limit of each service, in our drop-ins and the live control groups."""

    run: Run
    units: list[str]
    dropin: str
    dropin_head: str
    ceiling: Ceiling | None
    name: ClassVar[str] = "tasksmax"

    def look(self) -> Seen:
        """One row per service."""
        rows, originals = [], []
        if self.ceiling is None:
            return Seen(rows=[], told={"maximum": ""})
        for name in self.units:
            units = loaded_units(self.run, [instances_of(name)])
            rows += self.ceiling.rows_for(name, units)
            originals += original_file(self._path(name))
            originals += original_units(units, "TasksMax", dropin=self.dropin)
        told = {"maximum": self.ceiling.choice.value}
        return Seen(rows=rows, originals=originals, told=told)

    def apply(self, seen: Seen, changes: Changes) -> None:
        """Write our drop-ins, and change the live limits without restarting a service."""
        written = [self._write(name, changes) for name in self.units]
        differs = any(row.state == "differs" for row in seen.rows)
        # In addition to new ones: an interrupted run may have left a drop-in that systemd has not
        # read.
        if any(written) or differs:
            changes.run(["systemctl", "daemon-reload"], counts=False)
        # On Debian 12 a reload changes them; on Debian 13 they change only when some unit starts.
        if differs:
            changes.run(["systemd-run", "--quiet", "--wait", "--collect", "true"], counts=True)

    def _write(self, name: str, changes: Changes) -> bool:
        path = self._path(name)
        if self.ceiling is None:
            return bool(changes.bring_about(WantedFile(path=path, text=None)))
        changes.bring_about(WantedFolder(path=path.parent))
        text = headed(self.dropin_head, [f"TasksMax={self.ceiling.choice.value}"])
        return bool(changes.bring_about(WantedFile(path=path, text=text)))

    def _path(self, name: str) -> Path:
        return DROPINS / f"{name}.d" / self.dropin


def main() -> None:
    """Carry out the steps, and answer with rows; when verifying, fail if a row differs."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    needs = {name: module.params[name] for name in ("slots", "tasks")}
    choice = task_choice(module.params["profile"], module.params["maximum"], **needs)
    if choice and (danger := task_danger(choice, **needs)):
        module.fail_json(msg=danger)
    mount = pids_mount(parse_mounts(Path(MOUNT_TABLE).read_text()))
    dropin = module.params["dropin"]
    role = TaskLimits(
        run=module.run_command,
        units=module.params["units"],
        dropin=dropin,
        dropin_head=module.params["dropin_head"],
        ceiling=Ceiling(choice=choice, dropin=dropin, mount=mount, **needs) if choice else None,
    )
    try:
        module.exit_json(**carry_out(module, role))
    except (SystemdSilent, CommandFailed) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
