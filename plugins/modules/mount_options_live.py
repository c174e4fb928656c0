"""Ansible module: probe and verify the mount options of one file system, live and in fstab."""

from __future__ import annotations

import os
import tempfile
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
    mount_unit,
    new_complaints,
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
- C(probe) and C(verify) only read. C(apply) writes the options into the line of the mount point in
  fstab, unless C(findmnt --verify) finds an error in the new table that the old one does not have.
- If a systemd unit mounts the file system, the unit's options count, and are not changed.
options:
  path:
    description: Mount point of the file system.
    type: path
    required: true
  options:
    description: Wanted options; an empty list means the profile's.
    type: list
    elements: str
    required: true
  profile:
    description: The profile for options that are not given.
    type: str
    choices: [recipe, postgresql, mariadb, backup_throughput, none]
    default: none
  report:
    description: Only report differences; verify then never fails.
    type: bool
    default: false
  acknowledge_data_writeback:
    description: Whether stale blocks in files after a crash are acceptable.
    type: bool
    default: false
  fstab:
    description: The path of fstab.
    type: path
    default: /etc/fstab
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
unrecorded:
  description: The original state that the snapshot does not hold yet.
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
    "action": {"type": "str", "choices": ["probe", "apply", "verify"], "required": True},
    "before": {"type": "list", "elements": "dict", "default": []},
}


NOTHING: dict[str, Any] = {"remount": "", "unrecorded": []}


def option_row(option: str, mount: Mount, line: FstabLine) -> Row:
    """The row of one option: whether it is live, and whether it will be after a boot."""
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
        reason = "applies from the next fresh mount of the file system"
        return replace(row, state="pending", reason=reason)
    return replace(row, state="differs")


def originals_of(mount: Mount, line: FstabLine) -> list[Original]:
    """The current state of the mount and its line in fstab; other lines are left alone."""
    options = ",".join(sorted(mount.options))
    return [
        Original(kind="mount", name=mount.point, before={"options": options}),
        Original(kind="fstab_line", name=mount.point, before={"text": line.text}),
    ]


def main() -> None:
    """Answer with rows and the remount that fixes them; when verifying, fail if a row differs."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    path = os.path.realpath(module.params["path"])
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
    module.exit_json(**_answer(module, mount, choices))


def _answer(module: AnsibleModule, mount: Mount, choices: dict[str, Choice]) -> dict[str, Any]:
    fstab, options = Path(module.params["fstab"]), list(choices)
    line = fstab_line(fstab.read_text(), point=mount.point)
    unit = mount_unit(mount.point, in_fstab=line is not None)
    if unit is not None:
        kept = FstabLine(number=0, text="", options=unit[1])
        rows = [_beyond_us(option_row(option, mount, kept), unit[0]) for option in options]
        originals = originals_of(mount, kept)[:1]
    elif line is not None:
        rows = [option_row(option, mount, line) for option in options]
        originals = originals_of(mount, line)
    else:
        msg = f"cannot keep '{mount.point}' as it is over a boot: no line in {fstab}"
        module.fail_json(msg=msg)
        raise AssertionError(msg)  # fail_json has ended the module
    rows = [explained(row, choices[row.wanted]) for row in rows]
    if module.params["action"] == "verify":
        rows = concluded(module, rows)
    result: dict[str, Any] = {"changed": False}
    if module.params["action"] == "apply" and unit is None and line is not None:
        result = _apply(module, fstab.resolve(), line, options)
    return {
        "rows": as_dicts(rows),
        "unrecorded": unrecorded("mount_options", originals),
        "remount": _remount(options, mount),
        **result,
    }


def _beyond_us(row: Row, unit: Path) -> Row:
    if row.wanted in row.file.split(","):
        return row
    reason = f"{unit} mounts it with '{row.file}': add '{row.wanted}' to its Options="
    return replace(row, state="differs", reason=reason)


def _remount(options: list[str], mount: Mount) -> str:
    dead = any(not is_live(option, mount) for option in options if not option.startswith(DATA_MODE))
    return remount_options(mount, options) if dead else ""


def _apply(
    module: AnsibleModule, fstab: Path, line: FstabLine, options: list[str]
) -> dict[str, Any]:
    """Write the options into the line, unless findmnt then reports a new error."""
    if all(option in line.options for option in options):
        return {"changed": False}
    before = fstab.read_text()
    lines = before.splitlines(keepends=True)
    lines[line.number - 1] = lines[line.number - 1].replace(
        line.text, line.with_options(options), 1
    )
    after = "".join(lines)
    fresh = _written(after)
    try:
        if errors := new_complaints(_verified(module, fstab), _verified(module, fresh)):
            msg = f"cannot put '{','.join(options)}' into {fstab}: {'; '.join(errors)}"
            module.fail_json(msg=msg)
        if not module.check_mode:
            # Keeps owner, mode and labels of the table.
            module.atomic_move(str(fresh), str(fstab))
    finally:
        fresh.unlink(missing_ok=True)
    diff = {"before": before, "after": after, "before_header": str(fstab)}
    return {"changed": True, "diff": diff}


def _written(text: str) -> Path:
    # Not beside the table: check mode leaves no trace in /etc.
    handle, name = tempfile.mkstemp(prefix="holdfast-fstab-")
    with os.fdopen(handle, "w") as out:
        out.write(text)
    return Path(name)


def _verified(module: AnsibleModule, table: Path) -> str:
    # Its exit code does not help: another line may have been wrong for years.
    argv = ["findmnt", "--verify", "--tab-file", str(table)]
    _, out, errors = module.run_command(argv, environ_update={"LC_ALL": "C"})
    return f"{out}\n{errors}"


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
