"""The one formula for slots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.limits.budget import (
    Budget,
    Ceiling,
    MemoryBudget,
    TaskLimits,
    live_limits,
    process_budget,
    refused_tasks,
    slots_now,
    tasks_beside,
    tasks_for,
)
from holdfast.model.backup import Compressor
from holdfast.model.errors import MemoryShort


def limits(*, cpus: int = 64, pids_max: int | None = None, used: int = 0) -> TaskLimits:
    ceilings = (
        (Ceiling(name="pids.max of /job", most=pids_max, used=used),)
        if pids_max is not None
        else ()
    )
    return TaskLimits(cpus=cpus, ceilings=ceilings, pids_max=pids_max)


def budget(
    given: TaskLimits, *, asked: int | None = None, connections_free: int | None = None
) -> Budget:
    return process_budget(given, asked=asked, connections_free=connections_free)


@pytest.mark.parametrize(
    ("given", "slots", "decided_by"),
    [
        (limits(), 10, "auto"),
        (limits(cpus=2), 4, "cpus"),
        (limits(pids_max=4096), 10, "auto"),
        (limits(pids_max=112), 4, "pids.max of /job"),
        (limits(pids_max=4096, used=3981), 5, "pids.max of /job"),
        (limits(pids_max=40), 1, "pids.max of /job"),
    ],
)
def test_auto_is_the_least_of_what_each_input_allows(
    given: TaskLimits, slots: int, decided_by: str
) -> None:
    result = budget(given)
    assert (result.slots, result.decided_by) == (slots, decided_by)


@pytest.mark.parametrize(
    ("pids_max", "band"),
    [(500, (5, 133)), (1000, (10, 300)), (2000, (20, 633)), (4000, (50, 1300))],
)
def test_the_upper_bound_covers_the_bands_that_operators_know(
    pids_max: int, band: tuple[int, int]
) -> None:
    low, bound = band
    result = budget(limits(pids_max=pids_max), asked=100_000)
    assert low <= result.slots == bound


def test_a_number_that_was_asked_for_is_not_held_to_the_cpus() -> None:
    assert budget(limits(cpus=2), asked=30).slots == 30


def test_a_number_that_was_asked_for_is_lowered_to_what_the_limits_leave() -> None:
    result = budget(limits(pids_max=130), asked=30)
    assert (result.slots, result.decided_by) == (10, "pids.max of /job")


def test_the_server_gives_no_more_sessions_than_it_has() -> None:
    result = budget(limits(), asked=30, connections_free=5)
    assert (result.slots, result.decided_by) == (3, "connections")


def test_there_is_always_one_slot() -> None:
    assert budget(limits(pids_max=10, used=10), connections_free=0).slots == 1


def test_every_input_is_shown() -> None:
    result = budget(limits(cpus=8, pids_max=4096, used=96), connections_free=90)
    assert result.allowed == {
        "auto": 10,
        "cpus": 16,
        "pids.max of /job": 1300,
        "upper_bound": 1332,
        "connections": 88,
    }
    assert result.headline == "Initialized process semaphore with max 10 concurrent processes"


def test_tasks_for_is_the_formula_read_backwards() -> None:
    assert budget(limits(pids_max=tasks_for(7)), asked=100).slots == 7


MIB = 1 << 20


@pytest.mark.parametrize(
    ("limit_mb", "slots", "decided_by"), [(200, 10, "asked"), (150, 7, "memory"), (98, 1, "memory")]
)
def test_as_many_slots_as_fit_into_the_memory(limit_mb: int, slots: int, decided_by: str) -> None:
    memory = MemoryBudget(limit_bytes=limit_mb * MIB, compressor_bytes=2 * MIB)
    found = process_budget(limits(), asked=10, connections_free=None, memory=memory)
    assert (found.slots, found.decided_by) == (slots, decided_by)


def test_where_not_even_one_slot_fits_it_is_refused_with_the_number_that_would_do() -> None:
    memory = MemoryBudget(limit_bytes=50 * MIB, compressor_bytes=2 * MIB)
    with pytest.raises(MemoryShort, match=r"cannot run in 50 MiB .* needs 90 MiB"):
        process_budget(limits(), asked=None, connections_free=None, memory=memory)


def test_our_own_tasks_are_not_counted_against_us() -> None:
    def limits(used: int) -> TaskLimits:
        return TaskLimits(cpus=2, ceilings=(Ceiling(name="pids.max", most=200, used=used),))

    # 112 were free before four threads were there, two of which have two children each.
    assert slots_now(limits(88 + 4 + 4), working=2, threads=4) == 4
    assert slots_now(limits(88 + 4 + 4 + 30), working=2, threads=4) == 1
    assert slots_now(TaskLimits(cpus=2), working=1, threads=4) > 100
    # Three slots with three more children each use 12 of our 100 tasks.
    assert slots_now(limits(88 + 4 + 8), working=2, threads=4, tasks_per_slot=5) == 2


@pytest.mark.parametrize(
    ("compressor", "tasks", "slots"),
    [(None, 3, 33), (Compressor.PIGZ, 5, 20), (Compressor.ZSTD, 7, 14)],
)
def test_a_slot_with_a_program_beside_its_dump_costs_more_tasks(
    compressor: Compressor | None, tasks: int, slots: int
) -> None:
    assert tasks_beside(compressor) == tasks
    given = process_budget(
        limits(pids_max=200), asked=50, connections_free=None, tasks_per_slot=tasks
    )
    assert given.slots == slots


def test_every_compressor_has_its_tasks_counted() -> None:
    assert all(tasks_beside(each) > tasks_beside(None) for each in Compressor)


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


@pytest.mark.parametrize(
    ("limit_mb", "blob_mb", "slots"),
    [(90, 0, 1), (98, 2, 1), (130, 10, 4), (1000, 33, 88)],
)
def test_values_are_held_in_a_share_of_the_memory_that_costs_no_run_its_only_worker(
    limit_mb: int, blob_mb: int, slots: int
) -> None:
    memory = MemoryBudget(limit_bytes=limit_mb * MIB, compressor_bytes=2 * MIB, has_blobs=True)
    assert (memory.blob_bytes // MIB, memory.slots) == (blob_mb, slots)
    without = MemoryBudget(limit_bytes=limit_mb * MIB, compressor_bytes=2 * MIB)
    assert without.blob_bytes == 0
    assert without.slots >= slots
