"""Ansible module: restore a host to its state before it was tuned."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tuning_undo
short_description: Restore a host to its state before it was tuned
description:
- Restores files, live kernel keys, queues and mounts from the snapshots on the host, reads
  everything back, and marks the snapshots as undone. A second call changes nothing.
- Removes the verdict of the tuning that is undone.
options:
  roles:
    description: The roles whose changes are undone, from the last to the first.
    type: list
    elements: str
    required: true
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Undo
  holdfast.holdfast.tuning_undo:
    roles:
      - sysctl
"""
RETURN = r"""
rows:
  description: One row for each restored value, and for each that still has its original value.
  returned: always
  type: list
  elements: dict
"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.block_devices import BlockTree, QueueRefused
from ..module_utils.host_kind import container_kind
from ..module_utils.kernel_keys import Kernel, KeyRefused
from ..module_utils.mount_table import MOUNT_TABLE, parse_mounts
from ..module_utils.original_state import keep, load
from ..module_utils.systemd_units import SystemdSilent
from ..module_utils.tuning_report import as_dicts, refusals
from ..module_utils.tuning_verdict import forget
from ..module_utils.undo import Undo, UndoRefused

ARGUMENTS: dict[str, dict[str, Any]] = {
    "roles": {"type": "list", "elements": "str", "required": True}
}


def main() -> None:
    """Restore everything, verify it, and only then mark the snapshots as undone."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    mounts = tuple(parse_mounts(Path(MOUNT_TABLE).read_text()))
    kernel = Kernel(folder=Path("/proc/sys"), container=container_kind(), mounts=mounts)
    undo = Undo(
        run=module.run_command, kernel=kernel, disks=BlockTree(), check_mode=module.check_mode
    )
    snapshots = [load(role) for role in module.params["roles"]]
    try:
        rows = [
            row
            for snapshot in snapshots
            for row in undo.put_back(snapshot.role, snapshot.originals)
        ]
    except (KeyRefused, QueueRefused, SystemdSilent, UndoRefused, OSError) as error:
        module.fail_json(msg=f"cannot undo: {error}")
        return
    if failed := refusals(rows):
        module.fail_json(msg="; ".join(failed), rows=as_dicts(rows))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for snapshot in snapshots:
        if snapshot.taken and not snapshot.undone and not module.check_mode:
            keep(replace(snapshot, undone=now))
    changed = any(row.state == "changed" for row in rows)
    if changed and not module.check_mode:
        forget()
    module.exit_json(changed=changed, rows=as_dicts(rows))


if __name__ == "__main__":
    main()
