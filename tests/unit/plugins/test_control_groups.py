"""Task limits in both versions of control groups."""

from pathlib import Path

import pytest

from plugins.module_utils.control_groups import TaskCeiling, lowest, pids_mount, task_ceilings
from plugins.module_utils.mount_table import Mount, parse_mounts

HYBRID = """
30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
"""
UNIFIED = "31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.mark.parametrize(
    ("table", "point"), [(HYBRID, "/sys/fs/cgroup/pids"), (UNIFIED, "/sys/fs/cgroup")]
)
def test_the_pids_controller_is_found_in_either_version(table: str, point: str) -> None:
    found = pids_mount(parse_mounts(table))
    assert found is not None
    assert found.point == point


def test_no_control_groups_mean_no_mount() -> None:
    assert pids_mount(parse_mounts("30 25 0:26 / /sys ro - sysfs sysfs ro")) is None


def mounted(point: Path, *, root: str = "/") -> Mount:
    nothing: frozenset[str] = frozenset()
    return Mount(
        root=root, point=str(point), kind="cgroup2", options=nothing, super_options=nothing
    )


def hierarchy(point: Path) -> None:
    (point / "system.slice/cron.service").mkdir(parents=True)
    (point / "system.slice/cron.service/pids.max").write_text("4096\n")
    (point / "system.slice/pids.max").write_text("max\n")


def test_the_group_comes_first_and_its_ancestors_follow(tmp_path: Path) -> None:
    hierarchy(tmp_path)
    (tmp_path / "pids.max").write_text("2048\n")
    found = task_ceilings(mounted(tmp_path), "/system.slice/cron.service")
    assert [(item.group, item.maximum) for item in found] == [
        ("/system.slice/cron.service", "4096"),
        ("/system.slice", "max"),
        ("/", "2048"),
    ]
    assert lowest(found) == TaskCeiling(group="/", maximum="2048")


def test_a_mount_that_shows_a_part_of_the_hierarchy_is_read_from_there(tmp_path: Path) -> None:
    hierarchy(tmp_path)
    found = task_ceilings(mounted(tmp_path, root="/box"), "/box/system.slice/cron.service")
    assert found[0] == TaskCeiling(group="/system.slice/cron.service", maximum="4096")


def test_ceilings_without_a_number_have_no_lowest() -> None:
    assert lowest([TaskCeiling(group="/", maximum="max")]) is None
