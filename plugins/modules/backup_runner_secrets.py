"""Ansible module: keep exactly the given secrets on a host, for the units of its jobs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_runner_secrets
short_description: Keep exactly the given secrets on a host
description:
- Seals each secret with the key of the host, as a credential that systemd opens for the units that
  load it. Where systemd cannot do that, the secrets become files of the backup's user.
- Removes what it made for other secrets. A unit that loads a missing file does not start, so the
  role removes last, in a call of its own.
- Never stops or restarts a unit - the next start has the new values.
- No value is in the result, in a difference, in a message or in an argument of a program.
options:
  folder:
    description: Folder of the secrets. Files in it with other endings are left alone.
    type: path
    default: /etc/holdfast/credentials
  secrets:
    description: The text of each secret, by name.
    type: dict
    required: true
  files:
    description: Names of secrets that are kept as files, which the whole group may read.
    type: list
    elements: str
    default: []
  user:
    description: The user that backups run as.
    type: str
    required: true
  group:
    description: The group that backups run as.
    type: str
    required: true
  steps:
    description: Whether to write what differs, to remove what is surplus, or both.
    type: list
    elements: str
    choices: [write, remove]
    default: [write, remove]
  is_sealed:
    description: The answer of an earlier call, for one that only removes.
    type: bool
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Keep the keys of a bucket
  holdfast.holdfast.backup_runner_secrets:
    secrets:
      s3-access-key: "{{ vault_s3_access_key }}"
      s3-secret-key: "{{ vault_s3_secret_key }}"
    user: holdfast
    group: holdfast
  no_log: true
"""
RETURN = r"""
is_sealed:
  description: >-
    Whether units load the secrets as credentials, all but those of C(files). No names, as Ansible
    masks each value of a secret in an answer, also where it is a part of a name.
  returned: always
  type: bool
has_surplus:
  description: Whether there are files that hold no wanted secret.
  returned: always
  type: bool
written:
  description: Names of the secrets that were new or different.
  returned: always
  type: list
  elements: str
removed:
  description: Names of files that were removed.
  returned: always
  type: list
  elements: str
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.kept_secrets import (
    Kept,
    NotKept,
    SecretFolder,
    Systemd,
    difference,
    faults_of,
)

STEPS = WRITE, REMOVE = ("write", "remove")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "folder": {"type": "path", "default": "/etc/holdfast/credentials"},
    "secrets": {"type": "dict", "required": True, "no_log": True},
    "files": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "user": {"type": "str", "required": True},
    "group": {"type": "str", "required": True},
    "steps": {"type": "list", "elements": "str", "choices": list(STEPS), "default": list(STEPS)},
    "is_sealed": {"type": "bool"},
}


def main() -> None:
    """Find which secrets differ; outside check mode write and remove files."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    asked = module.params
    if faults := faults_of(asked["secrets"], asked["files"]):
        module.fail_json(msg=f"cannot keep the secrets of this host: {'; '.join(faults)}")
    systemd = Systemd(module.run_command, module.get_bin_path("systemd-creds") or "")
    folder = SecretFolder(Path(asked["folder"]), user=asked["user"], group=asked["group"])
    wanted = {name: text.encode() for name, text in asked["secrets"].items()}
    steps = asked["steps"]
    try:
        kept = Kept(
            folder, systemd, wanted=wanted, shared=asked["files"], sealed=asked["is_sealed"]
        )
        if not module.check_mode:
            carry_out(kept, steps)
    except (NotKept, OSError) as error:
        module.fail_json(msg=f"cannot keep the secrets of this host: {error}")
    written = kept.to_write if WRITE in steps else []
    removed = kept.surplus if REMOVE in steps else []
    module.exit_json(
        changed=bool(written or removed),
        is_sealed=bool(kept.sealed),
        has_surplus=bool(kept.surplus),
        written=written,
        removed=removed,
        diff=difference(kept.present, written=written, removed=removed),
    )


def carry_out(kept: Kept, steps: Sequence[str]) -> None:
    """Write, then remove: what is wanted is never missing."""
    if WRITE in steps:
        kept.write()
    if REMOVE in steps:
        kept.remove()


if __name__ == "__main__":
    main()
