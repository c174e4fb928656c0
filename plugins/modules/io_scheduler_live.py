"""Ansible module: probe, apply and verify the queues of whole disks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: io_scheduler_live
short_description: Probe, apply and verify the queues of whole disks
description:
- Never changes a device from a container, where /sys shows the disks of the machine below.
options:
  devices:
    description: Names or paths of disks; C(auto) is every real one.
    type: list
    elements: str
    required: true
  preferences:
    description: Schedulers, in order of preference.
    type: list
    elements: str
    required: true
  nvme_preferences:
    description: The same for NVMe disks.
    type: list
    elements: str
    required: true
  add_random:
    description: Whether a disk's timing feeds the entropy pool; C(auto) is the profile's.
    type: str
    required: true
  read_ahead_kb:
    description: How far the kernel reads ahead; C(auto) is the profile's.
    type: str
    required: true
  profile:
    description: The profile for values that are not given.
    type: str
    choices: [recipe, postgresql, mariadb, backup_throughput, none]
    default: none
  file:
    description: The file of our udev rules.
    type: path
    required: true
  file_head:
    description: The beginning of the file of our udev rules.
    type: str
    default: ""
extends_documentation_fragment: holdfast.holdfast.tuning_steps
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Read the schedulers
  holdfast.holdfast.io_scheduler_live:
    steps: [preflight]
    devices:
      - auto
    preferences:
      - deadline
    nvme_preferences:
      - none
    add_random: "0"
    read_ahead_kb: auto
    file: /etc/udev/rules.d/61-holdfast-io-scheduler.rules
"""
RETURN = r"""
rows:
  description: One row per disk and setting.
  returned: always
  type: list
  elements: dict
rules:
  description: The conditions and values of the udev rules.
  returned: always
  type: list
  elements: dict
undecided:
  description: Disks with rules whose conditions only udev can evaluate.
  returned: always
  type: list
  elements: str
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

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.block_devices import (
    ACCEPTED_ALIASES,
    ALIASES,
    BlockTree,
    Disk,
    QueueRefused,
    loadable_schedulers,
)
from ..module_utils.host_kind import container_kind
from ..module_utils.kernel_profiles import PROFILES
from ..module_utils.original_state import original_file
from ..module_utils.queue_rows import NUMBERS, QueueLooker, queue_originals
from ..module_utils.systemd_units import Run
from ..module_utils.tuning_report import Row
from ..module_utils.tuning_steps import (
    ARGUMENTS as STEP_ARGUMENTS,
    Changes,
    CommandFailed,
    Seen,
    TuningRole,
    carry_out,
)
from ..module_utils.udev_rules import queue_rules
from ..module_utils.wanted_files import WantedFile, headed

ARGUMENTS: dict[str, dict[str, Any]] = {
    "devices": {"type": "list", "elements": "str", "required": True},
    "preferences": {"type": "list", "elements": "str", "required": True},
    "nvme_preferences": {"type": "list", "elements": "str", "required": True},
    "add_random": {"type": "str", "required": True},
    "read_ahead_kb": {"type": "str", "required": True},
    "profile": {"type": "str", "choices": list(PROFILES), "default": "none"},
    "file": {"type": "path", "required": True},
    "file_head": {"type": "str", "default": ""},
    **STEP_ARGUMENTS,
}


def named_disks(tree: BlockTree, devices: list[str]) -> list[Disk]:
    """The whole disks to tune; raises `QueueRefused` for one that does not exist."""
    known, names = tree.names(), []
    for device in devices:
        if device == "auto":
            names += known
            continue
        name = Path(device).resolve().name if device.startswith("/") else device
        if name not in known:
            raise QueueRefused(
                f"cannot tune '{device}': no such whole disk (there are: {', '.join(known)})"
            )
        names.append(name)
    return [tree.disk(name) for name in dict.fromkeys(names)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues(TuningRole):
    """The queues of the wanted disks, live and in our udev rules."""

    run: Run
    module: Any
    devices: list[str]
    file_head: str
    name: ClassVar[str] = "io_scheduler"

    def look(self) -> Seen:
        """One row per disk and setting, or one with the reason why all are left alone."""
        looker = self._looker()
        if not looker.wants_anything():
            return Seen(rows=[], told={"rules": [], "undecided": []})
        if kind := container_kind():
            reason = f"the disks belong to the machine below this container ({kind})"
            row = Row(role="io_scheduler", key="scheduler", wanted=" or ".join(looker.asked()),
                      live="", state="skipped", reason=reason)  # fmt: skip
            return Seen(rows=[row], told={"rules": [], "undecided": []})
        disks = named_disks(self._tree(), self.devices)
        rows = [row for disk in disks for row in looker.rows(disk, disks)]
        return Seen(
            rows=rows,
            originals=[*queue_originals(disks, rows), *original_file(looker.file)],
            told={"rules": looker.wanted_rules(disks), "undecided": looker.undecided(disks)},
        )

    def apply(self, seen: Seen, changes: Changes) -> None:
        """Set the live queues, write our rules, and let udev run the rules that only it can.

        Live first: a value that the kernel refuses never gets into the rule that the next boot
        reads.
        """
        self._set_live(seen.rows, changes)
        text = headed(self.file_head, _rule_lines(seen.told["rules"]))
        path = Path(self.module.params["file"])
        if changes.bring_about(WantedFile(path=path, text=text if seen.told["rules"] else None)):
            # Without it a disk plugged in later would meet the old rules.
            changes.run(["udevadm", "control", "--reload"], counts=True)
        # Some of these rules start a program: the disk is verified after they have run.
        for name in seen.told["undecided"]:
            trigger = ["udevadm", "trigger", "--action=add", "--settle", f"--sysname-match={name}"]
            changes.run([*trigger, "--subsystem-match=block"], counts=False)

    def final(self, rows: list[Row], before: list[dict[str, str]], *, mended: bool) -> list[Row]:
        """A value that does not hold after a change is blamed on the rules that may have set it."""
        del before
        if not mended or all(row.state != "differs" for row in rows):
            return rows
        return list(self._looker().blamed(rows, named_disks(self._tree(), self.devices)))

    def _set_live(self, rows: list[Row], changes: Changes) -> None:
        # Rows with a reason have nothing to set: verify reports them, in check mode too.
        differing = [
            row
            for row in rows
            if row.state == "differs" and not row.reason and row.live != row.wanted
        ]
        if not differing:
            return
        for row in differing if not changes.trial else ():
            name, setting = row.key.split()
            self._tree().set(name, setting, row.wanted)
        changes.live(differing, header="live queues")

    def _looker(self) -> QueueLooker:
        asked = self.module.params
        return QueueLooker(
            profile=asked["profile"],
            preferences=tuple(asked["preferences"]),
            nvme_preferences=tuple(asked["nvme_preferences"]),
            add_random=asked["add_random"],
            read_ahead_kb=asked["read_ahead_kb"],
            file=Path(asked["file"]),
            rules=tuple(queue_rules()),
        )

    def _tree(self) -> BlockTree:
        return BlockTree(loadable=loadable_schedulers(self.run, self._looker().asked()))


def main() -> None:
    """Carry out the steps, and answer with rows and rules."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    _warn_of_old_names(module)
    role = Queues(
        run=module.run_command,
        module=module,
        devices=module.params["devices"],
        file_head=module.params["file_head"],
    )
    try:
        module.exit_json(**carry_out(module, role))
    except (QueueRefused, CommandFailed) as error:
        module.fail_json(msg=str(error))


def _rule_lines(rules: list[dict[str, str]]) -> Iterator[str]:
    for rule in rules:
        yield f"# {rule['device']} when this was written"
        for setting in ("scheduler", *NUMBERS):
            if rule[setting]:
                yield (
                    f'ACTION=="add|change", SUBSYSTEM=="block", ENV{{DEVTYPE}}=="disk",'
                    f' {rule["match"]}, ATTR{{queue/{setting}}}="{rule[setting]}"'
                )


def _warn_of_old_names(module: AnsibleModule) -> None:
    asked = module.params["preferences"] + module.params["nvme_preferences"]
    for name in dict.fromkeys(asked):
        if name in ALIASES and name not in ACCEPTED_ALIASES:
            module.warn(f"scheduler '{name}' is called '{ALIASES[name]}' today: that one is used")


if __name__ == "__main__":
    main()
