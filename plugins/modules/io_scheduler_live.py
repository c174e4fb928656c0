"""Ansible module: probe, apply and verify the I/O scheduler of whole disks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.block_devices import (
    ACCEPTED_ALIASES,
    ALIASES,
    BlockTree,
    Disk,
    QueueRefused,
    chosen_scheduler,
    loadable_schedulers,
    stable_match,
)
from ansible.module_utils.host_kind import container_kind
from ansible.module_utils.tuning_report import Row, as_dicts, refusals, settled

DOCUMENTATION = r"""
module: io_scheduler_live
short_description: Probe, apply and verify the I/O scheduler of whole disks
description:
- Never touches a device from a container, where /sys shows the disks of the machine below.
options:
  devices:
    description: Names or paths of disks; C(auto) stands for every real one.
    type: list
    elements: str
    required: true
  preferences:
    description: Schedulers in order of preference.
    type: list
    elements: str
    required: true
  nvme_preferences:
    description: The same for NVMe disks.
    type: list
    elements: str
    required: true
  add_random:
    description: Whether a disk's timing feeds the entropy pool.
    type: int
    choices:
    - 0
    - 1
    required: true
  action:
    description: What to do.
    type: str
    choices:
    - probe
    - apply
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
- name: Read the schedulers
  io_scheduler_live:
    action: probe
    devices:
      - auto
    preferences:
      - deadline
    nvme_preferences:
      - none
    add_random: 0
"""
RETURN = r"""
rows:
  description: One row per disk and setting.
  returned: always
  type: list
  elements: dict
rules:
  description: What the udev rules match and set.
  returned: always
  type: list
  elements: dict
"""
ARGUMENTS: dict[str, dict[str, Any]] = {
    "devices": {"type": "list", "elements": "str", "required": True},
    "preferences": {"type": "list", "elements": "str", "required": True},
    "nvme_preferences": {"type": "list", "elements": "str", "required": True},
    "add_random": {"type": "int", "choices": [0, 1], "required": True},
    "action": {"type": "str", "choices": ["probe", "apply", "verify"], "required": True},
    "before": {"type": "list", "elements": "dict", "default": []},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What each disk should be set to."""

    preferences: tuple[str, ...]
    nvme_preferences: tuple[str, ...]
    add_random: str

    def schedulers(self, disk: Disk) -> tuple[str, ...]:
        """The preference list that holds for this disk."""
        return self.nvme_preferences if disk.name.startswith("nvme") else self.preferences


def disk_rows(disk: Disk, wanted: Wanted) -> list[Row]:
    """The scheduler and the entropy flag of one disk, or the reason why it is left alone."""
    if disk.unfit:
        return [_row(disk.name, "", "", state="skipped", reason=disk.unfit)]
    preferences = wanted.schedulers(disk)
    choice = chosen_scheduler(disk, preferences)
    if choice is None:
        offer = f"the kernel offers only {', '.join(disk.schedulers) or 'no scheduler at all'}"
        scheduler = _row(
            f"{disk.name} scheduler", " or ".join(preferences), disk.scheduler, reason=offer
        )
    else:
        scheduler = _row(f"{disk.name} scheduler", choice, disk.scheduler)
    if not disk.add_random:
        absent = "this kernel has no such setting for the device"
        return [
            scheduler,
            _row(f"{disk.name} add_random", wanted.add_random, "", state="skipped", reason=absent),
        ]
    return [scheduler, _row(f"{disk.name} add_random", wanted.add_random, disk.add_random)]


def rules_for(disks: list[Disk], wanted: Wanted) -> list[dict[str, str]]:
    """What udev has to do when one of the disks appears, told by a name that survives hot plug."""
    rules = []
    for disk in disks:
        choice = chosen_scheduler(disk, wanted.schedulers(disk))
        if disk.unfit or choice is None:
            continue
        found = stable_match(disk, disks)
        match = f'ENV{{{found[0]}}}=="{found[1]}"' if found else f'KERNEL=="{disk.name}"'
        add_random = wanted.add_random if disk.add_random else ""
        rules.append(
            {"device": disk.name, "match": match, "scheduler": choice, "add_random": add_random}
        )
    return rules


def named_disks(tree: BlockTree, devices: list[str]) -> list[Disk]:
    """The disks that are meant; raises `QueueRefused` for one that is not there."""
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


def main() -> None:
    """Do what the task asks, and answer with rows and rules."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    if kind := container_kind():
        reason = f"the disks belong to the machine below this container ({kind})"
        row = _row("scheduler", module.params["preferences"][0], "", state="skipped", reason=reason)
        module.exit_json(changed=False, rows=as_dicts([row]), rules=[])
    wanted = Wanted(
        preferences=tuple(module.params["preferences"]),
        nvme_preferences=tuple(module.params["nvme_preferences"]),
        add_random=str(module.params["add_random"]),
    )
    _warn_of_old_names(module, wanted)
    preferences = wanted.preferences + wanted.nvme_preferences
    tree = BlockTree(loadable=loadable_schedulers(module.run_command, preferences))
    try:
        disks = named_disks(tree, module.params["devices"])
        rows = [row for disk in disks for row in disk_rows(disk, wanted)]
        result = (
            _apply(tree, rows, check_mode=module.check_mode)
            if module.params["action"] == "apply"
            else {}
        )
    except QueueRefused as error:
        module.fail_json(msg=str(error))
    if module.params["action"] == "verify":
        rows = settled(rows, before=module.params["before"], check_mode=module.check_mode)
        if failed := refusals(rows):
            module.fail_json(msg="; ".join(failed), rows=as_dicts(rows))
    module.exit_json(
        **{"changed": False, "rows": as_dicts(rows), "rules": rules_for(disks, wanted), **result}
    )


def _apply(tree: BlockTree, rows: list[Row], *, check_mode: bool) -> dict[str, Any]:
    # A row with a reason has no scheduler to set: verify tells it, in check mode too.
    differing = [row for row in rows if row.state == "differs" and not row.reason]
    for row in differing if not check_mode else []:
        name, setting = row.key.split()
        tree.set(name, setting, row.wanted)
    before = "".join(f"{row.key} = {row.live}\n" for row in differing)
    after = "".join(f"{row.key} = {row.wanted}\n" for row in differing)
    return {
        "changed": bool(differing),
        "diff": {"before": before, "after": after, "before_header": "live queues"},
    }


def _warn_of_old_names(module: AnsibleModule, wanted: Wanted) -> None:
    for name in dict.fromkeys(wanted.preferences + wanted.nvme_preferences):
        if name in ALIASES and name not in ACCEPTED_ALIASES:
            module.warn(f"scheduler '{name}' is called '{ALIASES[name]}' today: that one is used")


def _row(key: str, wanted: str, live: str, *, state: str = "", reason: str = "") -> Row:
    told = state or ("ok" if live == wanted else "differs")
    return Row(role="io_scheduler", key=key, wanted=wanted, live=live, state=told, reason=reason)


if __name__ == "__main__":
    main()
