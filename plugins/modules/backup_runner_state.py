"""Ansible module: compare the runner's files and units on a host with what a run would install."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_runner_state
short_description: Compare a host with what a run of the role would install
description:
- Only reads. Contents are compared by their SHA-256, so that no secret travels in arguments.
- A host without differences needs none of the tasks that install. Whatever is doubtful counts as a
  difference, and the tasks decide.
options:
  files:
    description: >-
      Files with C(path), C(owner), C(group), C(mode), and C(digest) where the content is known.
    type: list
    elements: dict
    required: true
  absent:
    description: Paths that should not exist.
    type: list
    elements: path
    default: []
  links:
    description: Links, each with its target, a program of the release.
    type: dict
    default: {}
  prefixes:
    description: Prefixes of the names of all units of jobs.
    type: list
    elements: str
    required: true
  units:
    description: The digest of each unit of a job, by name.
    type: dict
    required: true
  folder:
    description: Folder of the units.
    type: path
    default: /etc/systemd/system
  running:
    description: Units that should be enabled and started.
    type: list
    elements: str
    default: []
  stopped:
    description: Units that should be neither.
    type: list
    elements: str
    default: []
  release:
    description: Name of the release that is installed.
    type: str
    required: true
  python:
    description: Interpreter of releases; another version of it may not run them.
    type: path
    default: /usr/bin/python3
  mark:
    description: File with the fingerprint of the state that was verified last.
    type: path
    required: true
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Find what differs
  holdfast.holdfast.backup_runner_state:
    files:
      - {path: /etc/holdfast.yaml, owner: root, group: holdfast, mode: "0640", digest: "..."}
    prefixes: [holdfast-backup-]
    units: {}
    release: 0.1.0-3f2a9c41d0be
    mark: /opt/holdfast/.verified
"""
RETURN = r"""
differing:
  description: What differs, one line each.
  returned: always
  type: list
  elements: str
fingerprint:
  description: >-
    Fingerprint of the wanted state, of the release, of the host's systemd and Python, and of the
    drop-ins of our units.
  returned: always
  type: str
is_verified:
  description: Whether this state was verified on this host before.
  returned: always
  type: bool
"""

import grp
import hashlib
import json
import os
import pwd
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

ARGUMENTS: dict[str, dict[str, Any]] = {
    "files": {"type": "list", "elements": "dict", "required": True},
    "absent": {"type": "list", "elements": "path", "default": []},
    "links": {"type": "dict", "default": {}},
    "prefixes": {"type": "list", "elements": "str", "required": True},
    "units": {"type": "dict", "required": True},
    "folder": {"type": "path", "default": "/etc/systemd/system"},
    "running": {"type": "list", "elements": "str", "default": []},
    "stopped": {"type": "list", "elements": "str", "default": []},
    "release": {"type": "str", "required": True},
    "python": {"type": "path", "default": "/usr/bin/python3"},
    "mark": {"type": "path", "required": True},
}
# An upgrade of systemd may judge unchanged units differently.
SYSTEMD = Path("/lib/systemd/systemd")
# systemd.unit(5): where the files of a host and of its packages lie.
UNIT_PATHS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
)
# Drop-ins of our units, of all whose names begin like them, and of all units of a type.
DROP_INS = ("holdfast-*.d/*.conf", "service.d/*.conf", "timer.d/*.conf", "socket.d/*.conf")


def different_files(files: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """Files that are missing, or differ in content, owner, group or mode."""
    for wanted in files:
        path = Path(wanted["path"])
        try:
            status = path.lstat()
            owner, group = pwd.getpwuid(status.st_uid).pw_name, grp.getgrgid(status.st_gid).gr_name
        except (OSError, KeyError):
            yield str(path)
            continue
        found = (owner, group, stat.S_IMODE(status.st_mode))
        as_wanted = (wanted["owner"], wanted["group"], int(wanted["mode"], 8))
        is_plain = stat.S_ISREG(status.st_mode) and found == as_wanted
        if not is_plain or wanted.get("digest") not in (None, digest(path)):
            yield str(path)


def different_links(links: Mapping[str, str]) -> Iterator[str]:
    """Links that are missing, point elsewhere, or to nothing that can be run."""
    for name, target in links.items():
        path = Path(name)
        is_ours = path.is_symlink() and str(path.readlink()) == target
        if not is_ours or not os.access(path, os.X_OK):
            yield name


def different_units(folder: Path, wanted: Mapping[str, str], prefixes: Iterable[str]) -> list[str]:
    """Units of jobs that are missing, differ, or belong to no job any more."""
    beginnings = "|".join(map(re.escape, prefixes))
    ours = re.compile(rf"({beginnings})[a-z0-9][a-z0-9_-]*\.(service|timer)")
    present = {
        path.name: digest(path)
        for path in folder.iterdir()
        if ours.fullmatch(path.name) and path.is_file() and not path.is_symlink()
    }
    return sorted(
        name for name in present.keys() | wanted.keys() if present.get(name) != wanted.get(name)
    )


def digest(path: Path) -> str:
    """SHA-256 of one file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def drop_ins(roots: Iterable[str] = UNIT_PATHS) -> dict[str, str]:
    """The digest of each drop-in that systemd reads with our units."""
    found = [path for root in roots for each in DROP_INS for path in Path(root).glob(each)]
    return {str(path): digest(path) for path in found if path.is_file()}


def fingerprint(
    asked: Mapping[str, Any], *, judges: Iterable[Path], beside: Mapping[str, str]
) -> str:
    """The fingerprint of the wanted state, of who has to accept it, and of what is read with it."""
    # Filters of Ansible return lists in any order.
    known = {
        name: sorted(json.dumps(each, sort_keys=True) for each in value)
        if isinstance(value, list)
        else value
        for name, value in asked.items()
    }
    text = json.dumps([known, [_version(each) for each in judges], beside], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _version(program: Path) -> list[int]:
    """What changes with an upgrade of a program; empty if there is none."""
    try:
        status = program.stat()
    except OSError:
        return []
    return [status.st_mtime_ns, status.st_size]


def main() -> None:
    """Answer with what differs, and whether the rest was verified before."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    asked = {name: module.params[name] for name in ARGUMENTS}
    differing = [
        *different_files(asked["files"]),
        *(path for path in asked["absent"] if Path(path).exists() or Path(path).is_symlink()),
        *different_links(asked["links"]),
        *different_units(Path(asked["folder"]), asked["units"], asked["prefixes"]),
        *_misplaced(module, running=asked["running"], stopped=asked["stopped"]),
    ]
    wanted = fingerprint(asked, judges=[SYSTEMD, Path(asked["python"])], beside=drop_ins())
    mark = Path(asked["mark"])
    verified = mark.read_text().strip() if mark.is_file() else ""
    module.exit_json(
        changed=False,
        differing=differing,
        fingerprint=wanted,
        is_verified=verified == wanted and not differing,
    )


def _misplaced(module: AnsibleModule, *, running: list[str], stopped: list[str]) -> list[str]:
    """Units that are not enabled and started, though they should be, or the reverse."""
    if not running and not stopped:
        return []
    show = ["systemctl", "show", "--property=Id,ActiveState,UnitFileState", "--"]
    code, told, _unused = module.run_command([*show, *running, *stopped])
    blocks = told.split("\n\n") if code == 0 else []
    units = [dict(line.split("=", 1) for line in block.strip().splitlines()) for block in blocks]
    up = {
        unit["Id"]
        for unit in units
        if unit.get("ActiveState") == "active" and unit.get("UnitFileState") == "enabled"
    }
    down = {
        unit["Id"]
        for unit in units
        if unit.get("ActiveState") == "inactive" and unit.get("UnitFileState") == "disabled"
    }
    return [name for name in running if name not in up] + [
        name for name in stopped if name not in down
    ]


if __name__ == "__main__":
    main()
