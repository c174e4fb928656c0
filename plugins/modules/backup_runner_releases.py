"""Ansible module: read which runner releases a host has, and what a new one needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_runner_releases
short_description: Read the releases of the runner on a host
description:
- Only reads. A release counts as installed if it contains its mark, which is written last.
options:
  folder:
    description: Folder that holds the releases.
    type: path
    required: true
  mark:
    description: File inside a release that marks it as complete.
    type: str
    required: true
  python:
    description: Interpreter for new releases.
    type: path
    required: true
  extra:
    description: Extra of the runner that the host's jobs need, which is returned as it is. So the
      control node learns it of all hosts at once.
    type: str
    default: ""
  folders:
    description: Folders that should exist, each with C(path), C(owner), C(group) and C(mode).
    type: list
    elements: dict
    default: []
  account:
    description: >-
      The system user that should exist, as C(user), C(group), C(home), C(shell) and C(comment).
    type: dict
    required: true
  secrets:
    description: Folder in which this role keeps the secrets of the host.
    type: path
    default: ""
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Read what is installed
  holdfast.holdfast.backup_runner_releases:
    folder: /opt/holdfast
    mark: .complete
    python: /usr/bin/python3
    account:
      {user: holdfast, group: holdfast, home: /var/lib/x, shell: /bin/false, comment: backups}
"""
RETURN = r"""
has_account:
  description: Whether the system user and its group exist as wanted.
  returned: always
  type: bool
missing:
  description: The folders that are missing, or have another owner, group or mode.
  returned: always
  type: list
  elements: dict
installed:
  description: Names of complete releases, newest first.
  returned: always
  type: list
  elements: str
unfinished:
  description: Names of releases that an interrupted run left incomplete.
  returned: always
  type: list
  elements: str
current:
  description: Name of the release in use; empty if there is none.
  returned: always
  type: str
previous:
  description: Name of the release in use before; empty if there is none.
  returned: always
  type: str
python:
  description: Version of the interpreter, such as 3.13.
  returned: always
  type: str
extra:
  description: The extra that was given.
  returned: always
  type: str
keeps_secrets:
  description: Whether there is anything in the folder of secrets.
  returned: always
  type: bool
machine:
  description: Machine type of the wheels, such as x86_64.
  returned: always
  type: str
"""

import grp
import json
import pwd
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

ARGUMENTS: dict[str, dict[str, Any]] = {
    "folder": {"type": "path", "required": True},
    "mark": {"type": "str", "required": True},
    "python": {"type": "path", "required": True},
    "extra": {"type": "str", "default": ""},
    "folders": {"type": "list", "elements": "dict", "default": []},
    "account": {"type": "dict", "required": True},
    # Without this, Ansible takes the name for that of a secret.
    "secrets": {"type": "path", "default": "", "no_log": False},
}
RELEASE = re.compile(r"[0-9][^-]*-[0-9a-f]{12}")
# The venv module is imported here, because some systems package it separately.
QUESTION = (
    "import json, platform, sys, venv;"
    "print(json.dumps({'python': '%d.%d' % sys.version_info[:2], 'machine': platform.machine()}))"
)


def installed(folder: Path, mark: str) -> list[str]:
    """Complete releases, newest first."""
    marks = [path for path in folder.glob(f"*/{mark}") if not path.parent.is_symlink()]
    newest_first = sorted(marks, key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.parent.name for path in newest_first]


def unfinished(folder: Path, mark: str) -> list[str]:
    """Folders with a release's name but without its mark; other folders are not ours."""
    named = [path for path in folder.glob("*-*") if RELEASE.fullmatch(path.name)]
    return sorted(path.name for path in named if not (path / mark).exists())


def target(link: Path) -> str:
    """The name of the release that a link points to; empty if there is no such link."""
    return link.readlink().name if link.is_symlink() else ""


def holds_any(folder: str) -> bool:
    """Whether the folder exists with anything in it."""
    return bool(folder) and Path(folder).is_dir() and any(Path(folder).iterdir())


def is_as_wanted(folder: Mapping[str, str]) -> bool:
    """Whether the folder exists with that owner, group and mode."""
    path = Path(folder["path"])
    try:
        found = (path.owner(), path.group(), stat.S_IMODE(path.stat().st_mode))
    except (FileNotFoundError, NotADirectoryError, KeyError):
        # KeyError: its owner or group has no name on this system.
        return False
    return path.is_dir() and found == (folder["owner"], folder["group"], int(folder["mode"], 8))


def has_account(wanted: Mapping[str, str]) -> bool:
    """Whether the user exists with that group, home, shell and comment."""
    try:
        found, group = pwd.getpwnam(wanted["user"]), grp.getgrnam(wanted["group"])
    except KeyError:
        return False
    told = (found.pw_gid, found.pw_dir, found.pw_shell, found.pw_gecos)
    return told == (group.gr_gid, wanted["home"], wanted["shell"], wanted["comment"])


def main() -> None:
    """Answer with the releases, the missing folders, the Python version and the machine."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    python, folder = module.params["python"], Path(module.params["folder"])
    code, output, errors = module.run_command([python, "-c", QUESTION])
    if code != 0:
        module.fail_json(msg=f"cannot use the interpreter '{python}': {errors.strip() or output}")
    module.exit_json(
        changed=False,
        has_account=has_account(module.params["account"]),
        missing=[wanted for wanted in module.params["folders"] if not is_as_wanted(wanted)],
        installed=installed(folder, module.params["mark"]),
        unfinished=unfinished(folder, module.params["mark"]),
        current=target(folder / "current"),
        previous=target(folder / "previous"),
        extra=module.params["extra"],
        keeps_secrets=holds_any(module.params["secrets"]),
        **json.loads(output),
    )


if __name__ == "__main__":
    main()
