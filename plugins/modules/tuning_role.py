"""Documentation of the action plugin `tuning_role`, where Ansible looks for it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tuning_role
short_description: Run all steps of a tuning role, on an unchanged host in one round trip
description:
- Sends the arguments of a role to its module C(ROLE_live), which reads the host, decides, applies
  and verifies in one call.
- Where something is to be changed, the module first saves the original state and answers. Then a
  copy of the snapshot is written on the control node, the health of the host's servers is recorded,
  and only then a second call changes the host.
- Tags that name steps of the role, such as C(sysctl_preflight) or C(sysctl_verify), run these steps
  alone.
options:
  role:
    description: The role.
    type: str
    choices: [sysctl, limits, tasksmax, io_scheduler, mount_options]
    required: true
  arguments:
    description: The arguments of its module.
    type: dict
    required: true
  verify:
    description: C(repair) applies the wanted values; C(report) only shows differences.
    type: str
    choices: [repair, report]
    default: repair
  snapshots:
    description: Folder on the control node for copies of snapshots.
    type: path
    default: ~/.holdfast/snapshots
  health:
    description: Whether the health of the host is recorded before its first change.
    type: bool
    default: false
  well_before:
    description: What an earlier role recorded.
    type: list
    elements: str
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Set kernel keys
  holdfast.holdfast.tuning_role:
    role: sysctl
    arguments:
      profile: recipe
      settings: {}
      file: /etc/sysctl.d/99-dbbackup.conf
"""
RETURN = r"""
rows:
  description: One row per setting.
  returned: always
  type: list
  elements: dict
well_before:
  description: The checks that passed before the first change; none if nothing was changed.
  returned: always
  type: list
  elements: str
"""
