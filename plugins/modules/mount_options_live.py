"""Ansible module: probe and verify the mount options of one file system, live and in fstab."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mount_options_live
short_description: Probe and verify the mount options of one file system
description:
- C(configure) writes the options into the line of the mount point in
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
  acknowledge_data_writeback:
    description: Whether stale blocks in files after a crash are acceptable.
    type: bool
    default: false
  fstab:
    description: The path of fstab.
    type: path
    default: /etc/fstab
extends_documentation_fragment: holdfast.holdfast.tuning_steps
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Read the mount options
  holdfast.holdfast.mount_options_live:
    steps: [preflight]
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
remount:
  description: Options for the remount; empty when none is needed.
  returned: always
  type: str
"""

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.host_profiles import mount_choices
from ..module_utils.kernel_profiles import PROFILES
from ..module_utils.mount_options import (
    DATA_MODE,
    FstabLine,
    fstab_line,
    is_live,
    mount_unit,
    new_complaints,
    remount_options,
    unsafe,
)
from ..module_utils.mount_table import MOUNT_TABLE, Mount, covering, parse_mounts
from ..module_utils.original_state import Original
from ..module_utils.tuning_report import Choice, Row, explained
from ..module_utils.tuning_steps import (
    ARGUMENTS as STEP_ARGUMENTS,
    Changes,
    CommandFailed,
    Seen,
    TuningRole,
    carry_out,
)

ARGUMENTS: dict[str, dict[str, Any]] = {
    "path": {"type": "path", "required": True},
    "options": {"type": "list", "elements": "str", "required": True},
    "profile": {"type": "str", "choices": list(PROFILES), "default": "none"},
    **STEP_ARGUMENTS,
    "acknowledge_data_writeback": {"type": "bool", "default": False},
    "fstab": {"type": "path", "default": "/etc/fstab"},
}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class MountOptions(TuningRole):
    """The options of one file system, live and in its line of fstab."""

    module: AnsibleModule
    path: str
    choices: dict[str, Choice]
    name: ClassVar[str] = "mount_options"

    def look(self) -> Seen:
        """One row per option, or one that says why the file system is left alone."""
        mount = covering(parse_mounts(Path(MOUNT_TABLE).read_text()), self.path)
        if not self.choices:
            return Seen(rows=[], told=_nothing())
        if mount is None or mount.point != self.path:
            reason = "not a mount point of its own"
            row = Row(role=self.name, key=self.path, wanted=",".join(self.choices), live="",
                      state="skipped", reason=reason)  # fmt: skip
            return Seen(rows=[row], told=_nothing())
        options = list(self.choices)
        acknowledged = self.module.params["acknowledge_data_writeback"]
        if danger := unsafe(options, mount, acknowledged=acknowledged):
            self.module.fail_json(
                msg=f"cannot mount '{self.path}' with '{','.join(options)}': {danger}"
            )
        return self._seen(mount, options)

    def apply(self, seen: Seen, changes: Changes) -> None:
        """Put the options into fstab, then remount with them.

        ansible.posix.mount would unmount a file system that it cannot remount; this only remounts.
        Its options are complete, so that nothing from fstab, which may be pending, is mixed in.
        """
        if seen.told["line"]:
            self._write(seen.told["line"], changes)
        if options := seen.told["remount"]:
            remount = ["mount", "--options-mode=ignore", f"--options={options}"]
            changes.run([*remount, self.module.params["path"]], counts=True)

    def _seen(self, mount: Mount, options: list[str]) -> Seen:
        fstab = Path(self.module.params["fstab"])
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
            self.module.fail_json(msg=msg)
            raise AssertionError(msg)  # fail_json has ended the module
        rows = [explained(row, self.choices[row.wanted]) for row in rows]
        ours = line.text if line is not None and unit is None else ""
        return Seen(
            rows=rows,
            originals=originals,
            told={"remount": _remount(options, mount), "line": ours},
        )

    def _write(self, text: str, changes: Changes) -> None:
        """Write the options into the line, unless findmnt then reports a new error."""
        fstab, options = Path(self.module.params["fstab"]).resolve(), list(self.choices)
        before = fstab.read_text()
        line = fstab_line(before, point=self.path)
        if line is None or line.text != text or all(each in line.options for each in options):
            return
        lines = before.splitlines(keepends=True)
        lines[line.number - 1] = lines[line.number - 1].replace(text, line.with_options(options), 1)
        after = "".join(lines)
        fresh = _written(after)
        try:
            tables = [_verified(self.module, table) for table in (fstab, fresh)]
            if errors := new_complaints(*tables):
                msg = f"cannot put '{','.join(options)}' into {fstab}: {'; '.join(errors)}"
                self.module.fail_json(msg=msg)
            if not changes.trial:
                # Keeps owner, mode and labels of the table.
                self.module.atomic_move(str(fresh), str(fstab))
        finally:
            fresh.unlink(missing_ok=True)
        changes.text(before, after, header=str(fstab))


def main() -> None:
    """Carry out the steps, and answer with rows; when verifying, fail if a row differs."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    role = MountOptions(
        module=module,
        path=os.path.realpath(module.params["path"]),
        choices=mount_choices(module.params["profile"], module.params["options"]),
    )
    try:
        module.exit_json(**carry_out(module, role))
    except CommandFailed as error:
        module.fail_json(msg=str(error))


def _nothing() -> dict[str, str]:
    return {"remount": "", "line": ""}


def _beyond_us(row: Row, unit: Path) -> Row:
    if row.wanted in row.file.split(","):
        return row
    reason = f"{unit} mounts it with '{row.file}': add '{row.wanted}' to its Options="
    return replace(row, state="differs", reason=reason)


def _remount(options: list[str], mount: Mount) -> str:
    dead = any(not is_live(option, mount) for option in options if not option.startswith(DATA_MODE))
    return remount_options(mount, options) if dead else ""


def _written(text: str) -> Path:
    # Not beside the table: check mode leaves no trace in /etc.
    handle, name = tempfile.mkstemp(prefix="holdfast-fstab-")
    with os.fdopen(handle, "w") as out:
        out.write(text)
    return Path(name)


def _verified(module: AnsibleModule, table: Path) -> str:
    # Its exit code does not help: another line may have been wrong for years.
    argv = ["findmnt", "--verify", "--tab-file", str(table)]
    _unused, out, errors = module.run_command(argv, environ_update={"LC_ALL": "C"})
    return f"{out}\n{errors}"


def _shown(option: str, mount: Mount) -> str:
    if option.startswith(DATA_MODE):
        return next(
            (told for told in mount.super_options if told.startswith(DATA_MODE)),
            "the default data mode",
        )
    return option if is_live(option, mount) else ",".join(sorted(mount.options))


if __name__ == "__main__":
    main()
