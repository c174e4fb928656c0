"""Ansible module: keep exactly the given secrets on a host, for the units of its jobs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_runner_secrets
short_description: Keep exactly the given secrets on a host
description:
- Seals each secret with the key of the host, as a credential that systemd opens for the units that
  load it. Where systemd cannot do that, the secrets become files of the backup's user.
- Removes what it made for other secrets. Never stops or restarts a unit - the next start has the
  new values.
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
sealed:
  description: Names of the secrets that units load as credentials.
  returned: always
  type: list
  elements: str
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

ARGUMENTS: dict[str, dict[str, Any]] = {
    "folder": {"type": "path", "default": "/etc/holdfast/credentials"},
    "secrets": {"type": "dict", "required": True, "no_log": True},
    "files": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "user": {"type": "str", "required": True},
    "group": {"type": "str", "required": True},
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
    try:
        kept = Kept(folder, systemd, wanted=wanted, shared=asked["files"])
        if not module.check_mode:
            kept.bring_about()
    except (NotKept, OSError) as error:
        module.fail_json(msg=f"cannot keep the secrets of this host: {error}")
    module.exit_json(
        changed=bool(kept.to_write or kept.surplus),
        sealed=kept.sealed,
        written=kept.to_write,
        removed=kept.surplus,
        diff=difference(kept),
    )


if __name__ == "__main__":
    main()
