"""Ansible module: probe, apply and verify live kernel keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host_kind import container_kind
from ansible.module_utils.kernel_keys import Kernel, KeyRefused, invalid_settings, write_all
from ansible.module_utils.mount_table import MOUNT_TABLE, parse_mounts
from ansible.module_utils.sysctl_files import key_name, later_assignments, normalised, overrides
from ansible.module_utils.tuning_report import Row, as_dicts, refusals, settled

DOCUMENTATION = r"""
module: sysctl_live
short_description: Probe, apply and verify live kernel keys
description:
- Compares live values exactly, after making runs of blanks one blank.
- Leaves keys alone that a container does not own, and says why.
options:
  settings:
    description: Wanted value of each key.
    type: dict
    required: true
  skip:
    description: Keys to leave alone.
    type: list
    elements: str
    default: []
  action:
    description: What to do.
    type: str
    choices:
    - probe
    - apply
    - verify
    required: true
  file:
    description: Our file in sysctl.d; verify names later files that override it.
    type: path
    required: true
  before:
    description: Rows of the probe; verify tells from them what changed.
    type: list
    elements: dict
    default: []
author: holdfast
"""
EXAMPLES = r"""
- name: Read what is live
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
"""
ARGUMENTS: dict[str, dict[str, Any]] = {
    "settings": {"type": "dict", "required": True},
    "skip": {"type": "list", "elements": "str", "default": []},
    "action": {"type": "str", "choices": ["probe", "apply", "verify"], "required": True},
    "file": {"type": "path", "required": True},
    "before": {"type": "list", "elements": "dict", "default": []},
}


def probe(kernel: Kernel, settings: dict[str, str], *, skip: list[str]) -> list[Row]:
    """What each key is now, and whether it is ours to set."""
    return [_row(kernel, key, value, chosen=key not in skip) for key, value in settings.items()]


def apply(kernel: Kernel, rows: list[Row], *, check_mode: bool) -> dict[str, Any]:
    """Set the keys that differ, all or none; answers with the difference."""
    differing = [row for row in rows if row.state == "differs"]
    if not check_mode:
        write_all(kernel, {row.key: row.wanted for row in differing})
    before = "".join(f"{row.key} = {row.live}\n" for row in differing)
    after = "".join(f"{row.key} = {row.wanted}\n" for row in differing)
    return {
        "changed": bool(differing),
        "diff": {"before": before, "after": after, "before_header": "live kernel keys"},
    }


def boot_refusals(rows: list[Row], *, file: Path, root: Path = Path("/")) -> list[str]:
    """One sentence for each key that another file would take away from us at the next boot."""
    ours = {row.key: row.wanted for row in rows if row.state != "skipped"}
    return [
        f"cannot keep '{key_name(found.key)}' over a boot: "
        f"{found.path}:{found.line} is read after {file} and sets '{found.value}'"
        for found in overrides(ours, later_assignments(file, root=root))
    ]


def main() -> None:
    """Do what the task asks, and answer with rows."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    invalid = invalid_settings(module.params["settings"])
    if invalid:
        module.fail_json(msg="; ".join(invalid))
    mounts = tuple(parse_mounts(Path(MOUNT_TABLE).read_text()))
    kernel = Kernel(folder=Path("/proc/sys"), container=container_kind(), mounts=mounts)
    settings = {key: normalised(value) for key, value in module.params["settings"].items()}
    try:
        rows = probe(kernel, settings, skip=module.params["skip"])
        result = {}
        if module.params["action"] == "apply":
            result = apply(kernel, rows, check_mode=module.check_mode)
    except KeyRefused as error:
        module.fail_json(msg=str(error))
    if module.params["action"] == "verify":
        _verify(module, rows)
    module.exit_json(**{"changed": False, "rows": as_dicts(rows), **result})


def _verify(module: AnsibleModule, rows: list[Row]) -> None:
    rows = settled(rows, before=module.params["before"], check_mode=module.check_mode)
    failed = refusals(rows) + boot_refusals(rows, file=Path(module.params["file"]))
    if failed:
        module.fail_json(msg="; ".join(failed), rows=as_dicts(rows))
    module.exit_json(changed=False, rows=as_dicts(rows))


def _row(kernel: Kernel, key: str, wanted: str, *, chosen: bool) -> Row:
    reason = kernel.not_ours(key) if chosen else "named in sysctl_skip"
    if reason:
        return Row(
            role="sysctl",
            key=key,
            wanted=wanted,
            live=_shown(kernel, key),
            state="skipped",
            reason=reason,
        )
    live = kernel.read(key)
    return Row(
        role="sysctl",
        key=key,
        wanted=wanted,
        live=live,
        state="ok" if live == wanted else "differs",
    )


def _shown(kernel: Kernel, key: str) -> str:
    # A skipped key may be absent: then there is nothing to show.
    try:
        return str(kernel.read(key))
    except KeyRefused:
        return ""


if __name__ == "__main__":
    main()
