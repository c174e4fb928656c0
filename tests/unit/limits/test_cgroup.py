"""Limits read from trees that look like the hosts we know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.limits.budget import Ceiling, TaskLimits
from holdfast.limits.cgroup import live_limits, refused_tasks

UNIT = "/system.slice/holdfast-backup-shop.service"


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def counts(folder: str, most: str, used: int) -> dict[str, str]:
    return {f"{folder}/pids.max": f"{most}\n", f"{folder}/pids.current": f"{used}\n"}


V1_MOUNTS = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "39 31 0:36 / /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids\n"
    "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
)
V2_AT_UNIFIED = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
V2_MOUNTS = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def v1(root: Path) -> None:
    group = f"sys/fs/cgroup/pids{UNIT}"
    write(
        root,
        {
            "proc/self/mountinfo": V1_MOUNTS,
            "proc/self/cgroup": f"8:pids:{UNIT}\n9:name=systemd:{UNIT}\n",
            **counts(group, "4096", 7),
            **counts("sys/fs/cgroup/pids/system.slice", "max", 90),
        },
    )


def v2(root: Path) -> None:
    write(
        root,
        {
            "proc/self/mountinfo": V2_MOUNTS,
            "proc/self/cgroup": f"0::{UNIT}\n",
            **counts(f"sys/fs/cgroup{UNIT}", "4096", 7),
            **counts("sys/fs/cgroup/system.slice", "max", 90),
        },
    )


def hybrid(root: Path) -> None:
    v1(root)
    write(
        root,
        {
            "proc/self/mountinfo": V1_MOUNTS + V2_AT_UNIFIED,
            "proc/self/cgroup": f"8:pids:{UNIT}\n9:name=systemd:{UNIT}\n0::{UNIT}\n",
            f"sys/fs/cgroup/unified{UNIT}/cgroup.procs": "1\n",
        },
    )


@pytest.mark.parametrize("layout", [v1, v2, hybrid], ids=lambda layout: str(layout.__name__))
def test_our_own_group_is_found_on_every_layout(tmp_path: Path, layout: object) -> None:
    assert callable(layout)
    layout(tmp_path)
    found = live_limits(root=tmp_path, uid=0)
    assert found.ceilings == (Ceiling(name=f"pids.max of {UNIT}", most=4096, used=7),)
    assert found.pids_max == 4096


def test_a_tighter_ancestor_counts_too(tmp_path: Path) -> None:
    v2(tmp_path)
    write(tmp_path, counts("sys/fs/cgroup/system.slice", "500", 90))
    found = live_limits(root=tmp_path, uid=0)
    assert [ceiling.name for ceiling in found.ceilings] == [
        f"pids.max of {UNIT}",
        "pids.max of /system.slice",
    ]
    assert found.pids_max == 500


def test_a_group_above_our_namespace_is_read_at_the_mount(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/mountinfo": V2_MOUNTS,
            "proc/self/cgroup": "0::/../other\n",
            **counts("sys/fs/cgroup", "300", 4),
        },
    )
    assert live_limits(root=tmp_path, uid=0).pids_max == 300


def test_a_mount_of_a_part_of_the_hierarchy_is_understood(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/mountinfo": V2_MOUNTS.replace("0:26 / ", "0:26 /machine/box "),
            "proc/self/cgroup": f"0::/machine/box{UNIT}\n",
            **counts(f"sys/fs/cgroup{UNIT}", "77", 4),
        },
    )
    assert live_limits(root=tmp_path, uid=0).pids_max == 77


def test_the_users_own_limit_counts_all_tasks_of_the_user(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/limits": "Max processes             1024                 2048   processes\n",
            "proc/10/status": "Name:\ta\nUid:\t990\t990\t990\t990\nThreads:\t3\n",
            "proc/11/status": "Name:\tb\nUid:\t990\t990\t990\t990\nThreads:\t1\n",
            "proc/12/status": "Name:\tc\nUid:\t0\t0\t0\t0\nThreads:\t50\n",
        },
    )
    assert live_limits(root=tmp_path, uid=990).ceilings == (
        Ceiling(name="RLIMIT_NPROC", most=1024, used=4),
    )
    assert live_limits(root=tmp_path, uid=0).ceilings == ()


def test_the_kernels_own_limits_count_all_tasks_of_the_machine(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/loadavg": "0.10 0.20 0.30 2/246 4711\n",
            "proc/sys/kernel/threads-max": "10000\n",
            "proc/sys/kernel/pid_max": "32768\n",
        },
    )
    assert live_limits(root=tmp_path, uid=0).ceilings == (
        Ceiling(name="kernel.threads-max", most=10000, used=246),
        Ceiling(name="kernel.pid_max", most=32768, used=246),
    )


def test_a_host_that_tells_nothing_has_no_ceilings(tmp_path: Path) -> None:
    found = live_limits(root=tmp_path, uid=990)
    assert found == TaskLimits(cpus=found.cpus)
    assert found.cpus >= 1


def test_this_very_host_can_be_read() -> None:
    assert any(ceiling.name == "kernel.pid_max" for ceiling in live_limits().ceilings)


@pytest.mark.parametrize(("tree", "base"), [(v1, "sys/fs/cgroup/pids"), (v2, "sys/fs/cgroup")])
def test_refused_tasks_are_counted_in_our_group_and_above(
    tmp_path: Path, tree: Callable[[Path], None], base: str
) -> None:
    tree(tmp_path)
    assert refused_tasks(root=tmp_path) == 0
    events = {f"{base}{UNIT}/pids.events": "max 3\n", f"{base}/system.slice/pids.events": "max 4\n"}
    write(tmp_path, events)
    assert refused_tasks(root=tmp_path) == 7
