"""A release from the history of this clone, and what an operator's inventory was made for it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import yaml

from lab import command
from lab.project import GIT
from lab.state import STATE

# The newest commit that was handed out before this one. `HOLDFAST_UPGRADE_FROM` names another.
BEFORE = os.environ.get("HOLDFAST_UPGRADE_FROM", "bfe5138d")
FOLDER = STATE / "upgrade"
HOSTS = ("pg13", "maria12")
# Each run waits here as long as there is a pipe, while it has the lock of its job.
GATE = "/run/holdfast-upgrade-gate"
HOOK = ["/bin/sh", "-c", f"if [ -p {GATE} ]; then cat {GATE}; fi"]


def is_known() -> bool:
    """Whether this clone holds the older commit: a shallow one may not."""
    return command.succeeds([*GIT, "cat-file", "-e", f"{BEFORE}^{{commit}}"])


def unpacked() -> Path:
    """The whole tree of the older release, in a folder of its own."""
    tree = FOLDER / "release"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    packed = FOLDER / "release.tar"
    command.run([*GIT, "archive", "--format=tar", f"--output={packed}", BEFORE])
    command.run(["tar", "--extract", f"--file={packed}", f"--directory={tree}"])
    packed.unlink()
    return tree


def inventory(tree: Path) -> Path:
    """The demo's inventory of that release, on a network of its own and with a hook in each job."""
    folder = FOLDER / "inventory"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tree / "inventory" / "demo", folder)
    for path in sorted(folder.rglob("*.yml")):
        text = path.read_text()
        for old, new in (("holdfast-demo", "holdfast-upgrade"), ("10.117.1.", "10.117.9.")):
            text = text.replace(old, new)
        path.write_text(text)
    for path in (folder / "group_vars" / "mariadb.yml", folder / "group_vars" / "postgres.yml"):
        variables = yaml.safe_load(path.read_text())
        for job in variables["demo_jobs"].values():
            job["hooks"] = {"before": [{"run": HOOK, "timeout": "20m"}]}
        path.write_text(yaml.safe_dump(variables))
    return folder
