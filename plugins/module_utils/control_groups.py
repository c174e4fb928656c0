"""The live control group of a unit, and the task limits above it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .mount_table import Mount


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCeiling:
    """`pids.max` of one control group."""

    group: str
    maximum: str


def pids_mount(mounts: Iterable[Mount]) -> Mount | None:
    """The mount of the pids controller: version 1 if mounted, hybrids included, else version 2."""
    known = list(mounts)
    version_1 = [
        mount for mount in known if mount.kind == "cgroup" and "pids" in mount.super_options
    ]
    version_2 = [mount for mount in known if mount.kind == "cgroup2"]
    return next(iter(version_1 + version_2), None)


def group_below(mount: Mount, control_group: str) -> str:
    """The group as a path below the mount, which may show only a part of the hierarchy."""
    return "/" + control_group.removeprefix(mount.root.rstrip("/")).lstrip("/")


def task_ceilings(mount: Mount, control_group: str) -> list[TaskCeiling]:
    """The limits that apply to the group: its own first, then those of its ancestors."""
    own = PurePosixPath(group_below(mount, control_group))
    found = []
    for group in (own, *own.parents):
        ceiling = Path(mount.point) / str(group).lstrip("/") / "pids.max"
        if ceiling.is_file():
            found.append(TaskCeiling(group=str(group), maximum=ceiling.read_text().strip()))
    return found


def lowest(ceilings: Iterable[TaskCeiling]) -> TaskCeiling | None:
    """The lowest numeric limit; None if all are `max`."""
    numbered = [ceiling for ceiling in ceilings if ceiling.maximum.isdigit()]
    return min(numbered, key=lambda ceiling: int(ceiling.maximum), default=None)
