"""Ansible module: plan, apply and verify kernel keys, live and at boot."""

from __future__ import annotations

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
  file:
    description: The path of our file in sysctl.d.
    type: path
    required: true
  file_head:
    description: The beginning of our file.
    type: str
    default: ""
extends_documentation_fragment: holdfast.holdfast.tuning_steps
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Read the live values
  holdfast.holdfast.sysctl_live:
    steps: [preflight]
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

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.host_facts import HostFacts, gather
from ..module_utils.host_kind import container_kind
from ..module_utils.kernel_keys import (
    Kernel,
    KeyRefused,
    invalid_settings,
    mistyped_names,
    mistyped_settings,
    write_all,
)
from ..module_utils.kernel_profiles import PROFILES, KernelPlan
from ..module_utils.kernel_rows import (
    Looker,
    lines_for,
    originals_of,
    purged_since,
    values_to_write,
)
from ..module_utils.kernel_settings import contradictions, laid_over
from ..module_utils.kernel_values import same_value
from ..module_utils.mount_table import MOUNT_TABLE, parse_mounts
from ..module_utils.original_state import load
from ..module_utils.sysctl_files import one_name
from ..module_utils.systemd_units import SystemdSilent
from ..module_utils.tuning_report import Row
from ..module_utils.tuning_steps import (
    ARGUMENTS as STEP_ARGUMENTS,
    Changes,
    CommandFailed,
    Seen,
    TuningRole,
    carry_out,
)
from ..module_utils.wanted_files import WantedFile, headed

ARGUMENTS: dict[str, dict[str, Any]] = {
    "profile": {"type": "str", "choices": list(PROFILES), "default": "none"},
    "settings": {"type": "dict", "required": True},
    "skip": {"type": "list", "elements": "str", "default": []},
    "raise_only": {"type": "list", "elements": "str", "default": []},
    **STEP_ARGUMENTS,
    "file": {"type": "path", "required": True},
    "file_head": {"type": "str", "default": ""},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys(TuningRole):
    """The kernel keys of a plan, live and in the file that the next boot reads."""

    kernel: Kernel
    plan: KernelPlan
    looker: Looker
    file_head: str
    name: ClassVar[str] = "sysctl"

    def look(self) -> Seen:
        """One row per key, and per key that our file still sets and the plan does not."""
        rows = self.looker.rows(self.plan)
        purged = self.looker.purged(self.plan, load(self.name).originals)
        return Seen(
            rows=rows + purged,
            originals=originals_of(self.kernel, rows, self.looker.file),
            told={"lines": lines_for(rows)},
        )

    def apply(self, seen: Seen, changes: Changes) -> None:
        """Set all keys that differ, or none, then write our file.

        Live first: a value that the kernel refuses never gets into the file that the next boot
        reads.
        """
        differing = [
            row
            for row in seen.rows
            if row.state == "differs" and not same_value(row.wanted, row.live)
        ]
        if differing:
            if not changes.trial:
                write_all(self.kernel, values_to_write(differing, load(self.name).originals))
            changes.live(differing, header="live kernel keys")
        lines = seen.told["lines"]
        text = headed(self.file_head, lines) if lines else None
        changes.bring_about(WantedFile(path=self.looker.file, text=text))

    def final(self, rows: list[Row], before: list[dict[str, str]], *, mended: bool) -> list[Row]:
        """The keys that left our file are in no plan any more: only earlier rows know of them."""
        del mended
        return [*rows, *purged_since(before, rows)]


def main() -> None:
    """Carry out the steps, and answer with rows."""
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
        module.exit_json(**carry_out(module, _keys(module, kernel, plan)))
    except (KeyRefused, SystemdSilent, CommandFailed) as error:
        module.fail_json(msg=str(error))


def _plan(module: AnsibleModule, facts: HostFacts) -> KernelPlan:
    plan = laid_over(module.params["profile"], module.params["settings"], facts)
    skipped = {one_name(key) for key in module.params["skip"]}
    meant = {key: choice for key, choice in plan.choices.items() if key not in skipped}
    if refused := contradictions(meant, facts):
        module.fail_json(msg="; ".join(refused))
    return plan


def _keys(module: AnsibleModule, kernel: Kernel, plan: KernelPlan) -> Keys:
    looker = Looker(
        kernel=kernel,
        file=Path(module.params["file"]),
        skip=tuple(map(one_name, module.params["skip"])),
        raise_only=tuple(map(one_name, module.params["raise_only"])),
    )
    return Keys(kernel=kernel, plan=plan, looker=looker, file_head=module.params["file_head"])


if __name__ == "__main__":
    main()
