"""Ansible module: plan, apply and verify kernel keys, live and at boot."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host_facts import HostFacts, gather
from ansible.module_utils.host_kind import container_kind
from ansible.module_utils.kernel_keys import (
    Kernel,
    KeyRefused,
    invalid_settings,
    mistyped_names,
    mistyped_settings,
    write_all,
)
from ansible.module_utils.kernel_profiles import PROFILES, KernelPlan
from ansible.module_utils.kernel_rows import (
    Looker,
    lines_for,
    originals_of,
    purged_since,
    values_to_write,
)
from ansible.module_utils.kernel_settings import contradictions, laid_over
from ansible.module_utils.kernel_values import same_value
from ansible.module_utils.mount_table import MOUNT_TABLE, parse_mounts
from ansible.module_utils.original_state import Original, load, unrecorded
from ansible.module_utils.sysctl_files import one_name
from ansible.module_utils.systemd_units import SystemdSilent
from ansible.module_utils.tuning_report import Row, as_dicts, concluded

DOCUMENTATION = r"""
module: sysctl_live
short_description: Plan, apply and verify kernel keys, live and at boot
description:
- Expands a profile from the host's facts, and compares every layer by the value that the kernel
  reads, so that C(0x10) is C(16) and C(8001,8002) is C(8001-8002).
- Skips keys of a profile that the host does not have, and keys that a container does not own, with
  the reason. Refuses a key of C(settings) that the kernel does not have.
options:
  profile:
    description: The profile of the keys.
    type: str
    choices: [recipe, postgresql, mariadb, backup_throughput, none]
    default: none
  settings:
    description: Values of single keys; they override the profile's.
    type: dict
    required: true
  skip:
    description: Keys to leave alone.
    type: list
    elements: str
    default: []
  raise_only:
    description: Keys whose live value stays if it is already higher.
    type: list
    elements: str
    default: []
  action:
    description: The step to run.
    type: str
    choices: [probe, apply, verify]
    required: true
  report:
    description: Only report differences; verify then never fails.
    type: bool
    default: false
  file:
    description: The path of our file in sysctl.d.
    type: path
    required: true
  before:
    description: Rows of the probe, from which verify derives the changes.
    type: list
    elements: dict
    default: []
author: holdfast
"""
EXAMPLES = r"""
- name: Read the live values
  sysctl_live:
    action: probe
    file: /etc/sysctl.d/99-dbbackup.conf
    settings:
      vm.swappiness: 10
"""
RETURN = r"""
rows:
  description: One row per key.
  returned: always
  type: list
  elements: dict
lines:
  description: The lines for our file.
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
    "profile": {"type": "str", "choices": list(PROFILES), "default": "none"},
    "settings": {"type": "dict", "required": True},
    "skip": {"type": "list", "elements": "str", "default": []},
    "raise_only": {"type": "list", "elements": "str", "default": []},
    "action": {"type": "str", "choices": ["probe", "apply", "verify"], "required": True},
    "report": {"type": "bool", "default": False},
    "file": {"type": "path", "required": True},
    "before": {"type": "list", "elements": "dict", "default": []},
}


def apply(
    kernel: Kernel, rows: list[Row], originals: Iterable[Original], *, check_mode: bool
) -> dict[str, Any]:
    """Set all keys that differ, or none; returns the difference."""
    differing = [
        row for row in rows if row.state == "differs" and not same_value(row.wanted, row.live)
    ]
    if not check_mode:
        write_all(kernel, values_to_write(differing, originals))
    before = "".join(f"{row.key} = {row.live}\n" for row in differing)
    after = "".join(f"{row.key} = {row.wanted}\n" for row in differing)
    return {
        "changed": bool(differing),
        "diff": {"before": before, "after": after, "before_header": "live kernel keys"},
    }


def main() -> None:
    """Carry out the action, and answer with rows."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    if invalid := invalid_settings(module.params["settings"]):
        module.fail_json(msg="; ".join(invalid))
    mounts = tuple(parse_mounts(Path(MOUNT_TABLE).read_text()))
    kernel = Kernel(folder=Path("/proc/sys"), container=container_kind(), mounts=mounts)
    given, skip = module.params["settings"], module.params["skip"]
    if mistyped := mistyped_settings(kernel, given, skip=skip):
        module.fail_json(msg="; ".join(mistyped))
    try:
        facts = gather(module.run_command)
        plan = _plan(module, facts)
        named = [*skip, *module.params["raise_only"]]
        if mistyped := mistyped_names(kernel, named, planned=plan.choices):
            module.fail_json(msg="; ".join(mistyped))
        module.exit_json(**_answer(module, kernel, plan))
    except (KeyRefused, SystemdSilent) as error:
        module.fail_json(msg=str(error))


def _plan(module: AnsibleModule, facts: HostFacts) -> KernelPlan:
    plan = laid_over(module.params["profile"], module.params["settings"], facts)
    skipped = {one_name(key) for key in module.params["skip"]}
    meant = {key: choice for key, choice in plan.choices.items() if key not in skipped}
    if refused := contradictions(meant, facts):
        module.fail_json(msg="; ".join(refused))
    return plan


def _answer(module: AnsibleModule, kernel: Kernel, plan: KernelPlan) -> dict[str, Any]:
    file = Path(module.params["file"])
    looker = Looker(
        kernel=kernel,
        file=file,
        skip=tuple(map(one_name, module.params["skip"])),
        raise_only=tuple(map(one_name, module.params["raise_only"])),
    )
    originals = load("sysctl").originals
    rows, purged = looker.rows(plan), looker.purged(plan, originals)
    result: dict[str, Any] = {}
    if module.params["action"] == "apply":
        result = apply(kernel, rows + purged, originals, check_mode=module.check_mode)
    told = rows + purged
    if module.params["action"] == "verify":
        told = concluded(module, told) + purged_since(module.params["before"], told)
    return {
        "changed": False,
        "rows": as_dicts(told),
        "lines": lines_for(rows),
        "unrecorded": unrecorded("sysctl", originals_of(kernel, rows, file)),
        **result,
    }


if __name__ == "__main__":
    main()
