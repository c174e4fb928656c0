"""The live limits on tasks of this process, read from the kernel; nothing here decides.

Works on cgroup v1, v2 and hybrid hosts, with or without a cgroup namespace of our own. What
cannot be read does not count: a missing file is a limit that is not there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from holdfast.limits.budget import Ceiling, TaskLimits

UNLIMITED = {"max", "unlimited"}


def live_limits(*, root: Path = Path("/"), uid: int | None = None) -> TaskLimits:
    """Limits of the process that reads `/proc/self` under `root`."""
    groups = list(_cgroup_ceilings(root))
    others = [
        *_user_ceiling(root / "proc", os.getuid() if uid is None else uid),
        *_kernel_ceilings(root / "proc"),
    ]
    return TaskLimits(
        cpus=len(os.sched_getaffinity(0)),
        ceilings=(*groups, *others),
        pids_max=min((group.most for group in groups), default=None),
    )


def refused_tasks(*, root: Path = Path("/")) -> int:
    """How often a cgroup that we are in, or one above it, has refused a task so far."""
    texts = [_text(folder / "pids.events") for folder, _ in _group_folders(root)]
    lines = [line.split() for text in texts for line in text.splitlines()]
    return sum(int(line[1]) for line in lines if len(line) == 2 and line[0] == "max")


@dataclass(frozen=True, slots=True)
class _Hierarchy:
    """A mounted cgroup file system: where, and which group of the hierarchy is its top."""

    mounted_at: PurePosixPath
    top: PurePosixPath
    controllers: frozenset[str]


def _cgroup_ceilings(root: Path) -> Iterator[Ceiling]:
    for folder, level in _group_folders(root):
        most, used = _number(folder / "pids.max"), _number(folder / "pids.current")
        if most is not None and used is not None:
            name = PurePosixPath("/") / level
            yield Ceiling(name=f"pids.max of {name}", most=most, used=used)


def _group_folders(root: Path) -> Iterator[tuple[Path, PurePosixPath]]:
    """Our own groups and those above them: where each is, and its path below the mount."""
    for hierarchy, group in _our_groups(root / "proc/self"):
        mounted_at = root / hierarchy.mounted_at.relative_to("/")
        inside = _below(group, hierarchy.top)
        for level in (inside, *inside.parents):
            yield mounted_at / level, level


def _our_groups(proc_self: Path) -> Iterator[tuple[_Hierarchy, PurePosixPath]]:
    """Every hierarchy that we are in and that could count tasks; v2 has no controller names."""
    hierarchies = list(_hierarchies(_text(proc_self / "mountinfo")))
    for line in _text(proc_self / "cgroup").splitlines():
        _, names, path = line.split(":", 2)
        wanted = frozenset(filter(None, names.split(",")))
        if wanted and "pids" not in wanted:
            continue
        for hierarchy in hierarchies:
            if hierarchy.controllers == wanted or wanted & hierarchy.controllers:
                yield hierarchy, PurePosixPath(path)
                break


def _hierarchies(mountinfo: str) -> Iterator[_Hierarchy]:
    """proc(5): `36 35 98:0 ROOT MOUNT_POINT options [tags] - TYPE SOURCE SUPER_OPTIONS`."""
    for line in mountinfo.splitlines():
        mount, _, file_system = line.partition(" - ")
        mount_fields, kind = mount.split(), file_system.split()
        if not kind or kind[0] not in ("cgroup", "cgroup2"):
            continue
        options = frozenset(kind[2].split(",")) if kind[0] == "cgroup" else frozenset[str]()
        yield _Hierarchy(
            mounted_at=PurePosixPath(mount_fields[4]),
            top=PurePosixPath(mount_fields[3]),
            controllers=options,
        )


def _below(group: PurePosixPath, top: PurePosixPath) -> PurePosixPath:
    """`group` as a relative path below the mount, or the mount itself where it lies outside."""
    if ".." in group.parts or not group.is_relative_to(top):
        return PurePosixPath()
    return group.relative_to(top)


def _user_ceiling(proc: Path, uid: int) -> Iterator[Ceiling]:
    """RLIMIT_NPROC counts all tasks of the user; the kernel does not hold root to it."""
    if uid == 0:
        return
    for line in _text(proc / "self/limits").splitlines():
        if line.startswith("Max processes"):
            soft = line.split()[2]
            if soft not in UNLIMITED:
                yield Ceiling(name="RLIMIT_NPROC", most=int(soft), used=_tasks_of(proc, uid))


def _tasks_of(proc: Path, uid: int) -> int:
    tasks = 0
    for status in proc.glob("[0-9]*/status"):
        fields = dict(line.partition(":")[::2] for line in _text(status).splitlines())
        if fields.get("Uid", "").split()[:1] == [str(uid)]:
            tasks += int(fields.get("Threads", "1"))
    return tasks


def _kernel_ceilings(proc: Path) -> Iterator[Ceiling]:
    """The fourth word of loadavg is `running/all tasks of the machine`."""
    load = _text(proc / "loadavg").split()
    tasks = int(load[3].partition("/")[2]) if len(load) > 3 else 0
    for key in ("threads-max", "pid_max"):
        most = _number(proc / "sys/kernel" / key)
        if most is not None:
            yield Ceiling(name=f"kernel.{key}", most=most, used=tasks)


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
