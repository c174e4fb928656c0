"""Ansible module: probe, apply and verify the queues of whole disks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.block_devices import (
    ACCEPTED_ALIASES,
    ALIASES,
    BlockTree,
    Disk,
    QueueRefused,
    loadable_schedulers,
)
from ansible.module_utils.host_kind import container_kind
from ansible.module_utils.kernel_profiles import PROFILES
from ansible.module_utils.original_state import original_file, unrecorded
from ansible.module_utils.queue_rows import QueueLooker, queue_originals
from ansible.module_utils.tuning_report import Row, as_dicts, concluded
from ansible.module_utils.udev_rules import queue_rules

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
  report:
    description: Only report differences; verify then never fails.
    type: bool
    default: false
  action:
    description: The step to run.
    type: str
    choices:
    - probe
    - apply
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
- name: Read the schedulers
  io_scheduler_live:
    action: probe
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
unrecorded:
  description: The original state that the snapshot does not hold yet.
  returned: always
  type: list
  elements: dict
"""
ARGUMENTS: dict[str, dict[str, Any]] = {
    "devices": {"type": "list", "elements": "str", "required": True},
    "preferences": {"type": "list", "elements": "str", "required": True},
    "nvme_preferences": {"type": "list", "elements": "str", "required": True},
    "add_random": {"type": "str", "required": True},
    "read_ahead_kb": {"type": "str", "required": True},
    "profile": {"type": "str", "choices": list(PROFILES), "default": "none"},
    "file": {"type": "path", "required": True},
    "report": {"type": "bool", "default": False},
    "action": {"type": "str", "choices": ["probe", "apply", "verify"], "required": True},
    "before": {"type": "list", "elements": "dict", "default": []},
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


def main() -> None:
    """Carry out the action, and answer with rows and rules."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    _warn_of_old_names(module)
    looker = QueueLooker(
        profile=module.params["profile"],
        preferences=tuple(module.params["preferences"]),
        nvme_preferences=tuple(module.params["nvme_preferences"]),
        add_random=module.params["add_random"],
        read_ahead_kb=module.params["read_ahead_kb"],
        file=Path(module.params["file"]),
        rules=tuple(queue_rules()),
    )
    nothing: dict[str, list[str]] = {"rules": [], "undecided": [], "unrecorded": []}
    if not looker.wants_anything():
        module.exit_json(changed=False, rows=[], **nothing)
    if kind := container_kind():
        reason = f"the disks belong to the machine below this container ({kind})"
        row = Row(role="io_scheduler", key="scheduler", wanted=" or ".join(looker.asked()),
                  live="", state="skipped", reason=reason)  # fmt: skip
        module.exit_json(changed=False, rows=as_dicts([row]), **nothing)
    try:
        module.exit_json(**_answer(module, looker))
    except QueueRefused as error:
        module.fail_json(msg=str(error))


def _answer(module: AnsibleModule, looker: QueueLooker) -> dict[str, Any]:
    tree = BlockTree(loadable=loadable_schedulers(module.run_command, looker.asked()))
    disks = named_disks(tree, module.params["devices"])
    rows = [row for disk in disks for row in looker.rows(disk, disks)]
    result: dict[str, Any] = {}
    if module.params["action"] == "apply":
        result = _apply(tree, rows, check_mode=module.check_mode)
    if module.params["action"] == "verify":
        mended = not (module.check_mode or module.params["report"])
        rows = concluded(module, looker.blamed(rows, disks) if mended else rows)
    originals = [*queue_originals(disks, rows), *original_file(looker.file)]
    return {
        "changed": False,
        "rows": as_dicts(rows),
        "rules": looker.wanted_rules(disks),
        "undecided": looker.undecided(disks),
        "unrecorded": unrecorded("io_scheduler", originals),
        **result,
    }


def _apply(tree: BlockTree, rows: list[Row], *, check_mode: bool) -> dict[str, Any]:
    # Rows with a reason have nothing to set: verify reports them, in check mode too.
    differing = [
        row for row in rows if row.state == "differs" and not row.reason and row.live != row.wanted
    ]
    for row in differing if not check_mode else []:
        name, setting = row.key.split()
        tree.set(name, setting, row.wanted)
    before = "".join(f"{row.key} = {row.live}\n" for row in differing)
    after = "".join(f"{row.key} = {row.wanted}\n" for row in differing)
    return {
        "changed": bool(differing),
        "diff": {"before": before, "after": after, "before_header": "live queues"},
    }


def _warn_of_old_names(module: AnsibleModule) -> None:
    asked = module.params["preferences"] + module.params["nvme_preferences"]
    for name in dict.fromkeys(asked):
        if name in ALIASES and name not in ACCEPTED_ALIASES:
            module.warn(f"scheduler '{name}' is called '{ALIASES[name]}' today: that one is used")


if __name__ == "__main__":
    main()
