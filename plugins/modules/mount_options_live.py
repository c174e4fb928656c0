"""Ansible module: probe and verify the mount options of one file system, live and in fstab."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host_profiles import mount_choices
from ansible.module_utils.kernel_profiles import PROFILES
from ansible.module_utils.mount_options import (
    DATA_MODE,
    FstabLine,
    fstab_line,
    is_live,
    remount_options,
    unsafe,
)
from ansible.module_utils.mount_table import MOUNT_TABLE, Mount, covering, parse_mounts
from ansible.module_utils.original_state import Original, unrecorded
from ansible.module_utils.tuning_report import Choice, Row, as_dicts, concluded, explained

DOCUMENTATION = r"""
module: mount_options_live
short_description: Probe and verify the mount options of one file system
description:
- Only reads; answers with the fstab line and the remount that would mend what differs.
options:
  path:
    description: Mount point of the file system.
    type: path
    required: true
  options:
    description: Wanted options; none stands for the profile's.
    type: list
    elements: str
    required: true
  profile:
    description: Where the options come from when none are given.
    type: str
    choices: [recipe, postgresql, mariadb, backup_throughput, none]
    default: none
  report:
    description: Only tell what differs; verify then never fails.
    type: bool
    default: false
  acknowledge_data_writeback:
    description: Whether stale blocks after a crash are accepted.
    type: bool
    default: false
  fstab:
    description: The table of file systems.
    type: path
    default: /etc/fstab
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
- name: Read the mount options
  mount_options_live:
    action: probe
    path: /var/lib/holdfast
    options:
      - noatime
      - nodiratime
"""
RETURN = r"""
rows:
  description: One row per option.
  returned: always
  type: list
  elements: dict
fstab_line:
  description: The line to replace; empty when nothing is to be replaced.
  returned: always
  type: str
fstab_wanted:
  description: What to replace it with.
  returned: always
  type: str
unrecorded:
  description: What the snapshot of the original state does not hold yet.
  returned: always
  type: list
  elements: dict
remount:
  description: Options for the remount; empty when none is needed.
  returned: always
  type: str
"""
ARGUMENTS: dict[str, dict[str, Any]] = {
    "path": {"type": "path", "required": True},
    "options": {"type": "list", "elements": "str", "required": True},
    "profile": {"type": "str", "choices": list(PROFILES), "default": "none"},
    "report": {"type": "bool", "default": False},
    "acknowledge_data_writeback": {"type": "bool", "default": False},
    "fstab": {"type": "path", "default": "/etc/fstab"},
    "action": {"type": "str", "choices": ["probe", "verify"], "required": True},
    "before": {"type": "list", "elements": "dict", "default": []},
}


NOTHING = {"fstab_line": "", "fstab_wanted": "", "remount": "", "unrecorded": []}


def option_row(option: str, mount: Mount, line: FstabLine) -> Row:
    """One option: whether it is live, and whether it will be after a boot."""
    live = is_live(option, mount)
    kept = option if option in line.options else ",".join(line.options)
    row = Row(
        role="mount_options",
        key=f"{mount.point} {option}",
        wanted=option,
        live=_shown(option, mount),
        state="ok",
        file=kept,
        boot=kept,
    )
    if option not in line.options:
        return replace(row, state="differs")
    if live:
        return row
    if option.startswith(DATA_MODE):
        reason = "holds from the next fresh mount of the file system"
        return replace(row, state="pending", reason=reason)
    return replace(row, state="differs")


def originals_of(mount: Mount, line: FstabLine) -> list[Original]:
    """The mount and its line as they are; other lines are nobody's business here."""
    options = ",".join(sorted(mount.options))
    return [
        Original(kind="mount", name=mount.point, before={"options": options}),
        Original(kind="fstab_line", name=mount.point, before={"text": line.text}),
    ]


def main() -> None:
    """Answer with rows and with what would mend them; when verifying, fail for what differs."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    path = module.params["path"].rstrip("/") or "/"
    choices = mount_choices(module.params["profile"], module.params["options"])
    if not choices:
        module.exit_json(changed=False, rows=[], **NOTHING)
        return
    mount = covering(parse_mounts(Path(MOUNT_TABLE).read_text()), path)
    if mount is None or mount.point != path:
        _leave_alone(module, path, choices)
        return
    options = list(choices)
    danger = unsafe(options, mount, acknowledged=module.params["acknowledge_data_writeback"])
    if danger:
        module.fail_json(msg=f"cannot mount '{path}' with '{','.join(options)}': {danger}")
    line = fstab_line(Path(module.params["fstab"]).read_text(), point=path)
    if line is None:
        module.fail_json(
            msg=f"cannot keep '{path}' as it is over a boot: no line in {module.params['fstab']}"
        )
        return
    rows = [explained(option_row(option, mount, line), choices[option]) for option in options]
    if module.params["action"] == "verify":
        rows = concluded(module, rows)
    kept = unrecorded("mount_options", originals_of(mount, line))
    mending = _mending(options, mount, line)
    module.exit_json(changed=False, rows=as_dicts(rows), unrecorded=kept, **mending)


def _mending(options: list[str], mount: Mount, line: FstabLine) -> dict[str, str]:
    missing = any(option not in line.options for option in options)
    dead = any(not is_live(option, mount) for option in options if not option.startswith(DATA_MODE))
    return {
        "fstab_line": line.text if missing else "",
        "fstab_wanted": line.with_options(options) if missing else "",
        "remount": remount_options(mount, options) if dead else "",
    }


def _leave_alone(module: AnsibleModule, path: str, choices: dict[str, Choice]) -> None:
    row = Row(
        role="mount_options",
        key=path,
        wanted=",".join(choices),
        live="",
        state="skipped",
        reason="not a mount point of its own",
    )
    module.exit_json(changed=False, rows=as_dicts([row]), **NOTHING)


def _shown(option: str, mount: Mount) -> str:
    if option.startswith(DATA_MODE):
        return next(
            (told for told in mount.super_options if told.startswith(DATA_MODE)),
            "the default data mode",
        )
    return option if is_live(option, mount) else ",".join(sorted(mount.options))


if __name__ == "__main__":
    main()
