"""Ansible module: leave the verdict of a tuning that failed on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tuning_verdict
short_description: Leave the verdict of a tuning that failed
description:
- Writes C(/var/lib/holdfast-tuning/verdict.json), which everybody on the host may read. It never
  counts as a change. C(tuning_health) leaves the verdict of a tuning that succeeded.
options:
  failure:
    description: Why the tuning failed.
    type: str
    required: true
  rows:
    description: The rows of the roles that ran.
    type: list
    elements: dict
    default: []
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Leave the verdict
  holdfast.holdfast.tuning_verdict:
    failure: "{{ ansible_failed_result.msg }}"
"""
RETURN = r"""
verdict:
  description: The content of the file.
  returned: always
  type: dict
"""

from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.tuning_verdict import leave, verdict

ARGUMENTS: dict[str, dict[str, Any]] = {
    "failure": {"type": "str", "required": True},
    "rows": {"type": "list", "elements": "dict", "default": []},
}


def main() -> None:
    """Write the verdict; check mode writes nothing."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    document = verdict(module.params["rows"], failure=module.params["failure"], at=now)
    if not module.check_mode:
        leave(document)
    module.exit_json(changed=False, verdict=document)


if __name__ == "__main__":
    main()
