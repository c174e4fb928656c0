"""Ansible module: save the state of a host before its first change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.original_state import Original, extended, keep, load, machine_id

DOCUMENTATION = r"""
module: tuning_snapshot
short_description: Save the state of a host before its first change
description:
- Adds originals that the snapshot of a role does not hold yet; existing ones are never overwritten.
- The snapshot is stored in C(/var/lib/holdfast-tuning), for root only.
options:
  role:
    description: The role that will change the host.
    type: str
    required: true
  originals:
    description: The original state, from the probe of the role.
    type: list
    elements: dict
    required: true
author: holdfast
"""
EXAMPLES = r"""
- name: Save the original state
  tuning_snapshot:
    role: sysctl
    originals: "{{ probe.unrecorded }}"
"""
RETURN = r"""
snapshot:
  description: The whole snapshot of the role.
  returned: always
  type: dict
machine:
  description: The identity of the host, independent of the inventory.
  returned: always
  type: str
"""
ARGUMENTS: dict[str, dict[str, Any]] = {
    "role": {"type": "str", "required": True},
    "originals": {"type": "list", "elements": "dict", "required": True},
}


def main() -> None:
    """Add the missing originals atomically."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    found = [Original(**entry) for entry in module.params["originals"]]
    old = load(module.params["role"])
    now = datetime.now(UTC).isoformat(timespec="seconds")
    new = extended(old, found, now=now)
    if new != old and not module.check_mode:
        keep(new)
    module.exit_json(changed=new != old, snapshot=new.document(), machine=machine_id())


if __name__ == "__main__":
    main()
