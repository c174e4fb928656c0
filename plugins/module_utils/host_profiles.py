"""The limits, tasks, queues and mount options that a profile wants, with reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .host_facts import HostFacts
from .tuning_report import Choice

GIBIBYTE = 2**30
# The first issue's value: what cron and the backups had before slots were counted.
TASKS_FLOOR = 4096
FILES_FLOOR, FILES_CEILING, FILES_PER_GIBIBYTE = 65536, 1048576, 4096
AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueWishes:
    """The wanted settings of one disk's queue; None leaves a setting alone."""

    schedulers: tuple[str, ...] = ()
    add_random: Choice | None = None
    read_ahead_kb: Choice | None = None
    why: str = ""
    reference: str = "Linux: block/deadline-iosched.rst"


def limit_choices(profile: str, given: Mapping[str, str], facts: HostFacts) -> dict[str, Choice]:
    """The choices for open files and processes; a given number wins, `auto` takes the profile's."""
    chosen = {} if profile == "none" else {"nofile": _files(profile, facts), "nproc": _processes()}
    for kind, value in given.items():
        if value != AUTO:
            chosen[kind] = Choice(value=value, needs="restart of the service")
    return chosen


def task_choice(profile: str, given: str, *, slots: int, tasks: int) -> Choice | None:
    """The number of tasks that a service may have: enough for the runner's slots."""
    formula = f"max({TASKS_FLOOR}, tasks for {slots} slots = {tasks})"
    if given != AUTO:
        return Choice(value=given, bounds=f"at least {tasks}, for {slots} slots")
    if profile == "none":
        return None
    return Choice(
        value=str(max(TASKS_FLOOR, tasks)),
        formula=formula,
        bounds="no ancestor control group allows less",
        why="every thread counts, and a run at the limit cannot start its compressors",
        reference="systemd.resource-control(5): TasksMax=",
    )


def task_danger(choice: Choice, *, slots: int, tasks: int) -> str:
    """Why the limit would stop the runner; empty if it would not."""
    if choice.value in ("infinity", "max") or int(choice.value) >= tasks:
        return ""
    return f"cannot set TasksMax to {choice.value}: the runner's {slots} slots need {tasks}"


def queue_wishes(
    profile: str, *, nvme: bool, schedulers: tuple[str, ...], add_random: str, read_ahead_kb: str
) -> QueueWishes:
    """The wanted queue of a disk; given values win over the profile's."""
    idle = profile == "none"
    preferred = ("none",) if nvme else ("deadline",)
    why = (
        "NVMe disks have queues of their own; a scheduler only costs time there"
        if nvme
        else "bounds how long a database's read waits behind a backup's writes"
    )
    return QueueWishes(
        schedulers=schedulers or (() if idle else preferred),
        add_random=_given(add_random) or (None if idle else _no_entropy()),
        read_ahead_kb=_given(read_ahead_kb)
        or (_far_read_ahead() if profile == "backup_throughput" else None),
        why="asked for by name" if schedulers else why,
    )


def mount_choices(profile: str, given: list[str]) -> dict[str, Choice]:
    """The mount options of the backup file system."""
    if given:
        return {option: Choice(value=option, needs=_mount_needs(option)) for option in given}
    if profile == "none":
        return {}
    why = {
        "noatime": "reading a backup back should not write to the disk",
        "nodiratime": "noatime implies it; kept for readers of fstab",
    }
    return {
        option: Choice(
            value=option,
            formula="constant",
            why=reason,
            reference="mount(8)",
            risk="programs that look at access times see old ones",
            needs="remount",
        )
        for option, reason in why.items()
    }


def _mount_needs(option: str) -> str:
    return "fresh mount" if option.startswith("data=") else "remount"


def _files(profile: str, facts: HostFacts) -> Choice:
    by_memory = facts.memory // GIBIBYTE * FILES_PER_GIBIBYTE
    if profile == "mariadb":
        value = min(max(by_memory, FILES_FLOOR), FILES_CEILING)
        formula = f"{FILES_PER_GIBIBYTE} per GiB of memory"
    else:
        value, formula = FILES_FLOOR, "constant"
    return Choice(
        value=str(value),
        formula=formula,
        bounds=f"{FILES_FLOOR} to {FILES_CEILING}, at most fs.nr_open",
        why="a server with thousands of tables and connections holds one for each",
        reference="systemd.exec(5): LimitNOFILE=, limits.conf(5)",
        needs="restart of the service",
    )


def _processes() -> Choice:
    return Choice(
        value="32768",
        formula="constant",
        bounds="at most kernel.threads-max",
        why="parallel dumps and their compressors count against the login that starts them",
        reference="limits.conf(5)",
        needs="a new login",
    )


def _given(value: str) -> Choice | None:
    return None if value == AUTO else Choice(value=value)


def _no_entropy() -> Choice:
    return Choice(
        value="0",
        formula="constant",
        why="the kernel has better sources of randomness than the timing of requests",
        reference="Linux: ABI/stable/sysfs-block",
    )


def _far_read_ahead() -> Choice:
    return Choice(
        value="4096",
        formula="constant",
        bounds="kernel's default is 128",
        why="a backup reads tables from one end to the other",
        reference="Linux: ABI/stable/sysfs-block",
        risk="single rows read at random bring more neighbours into memory",
    )
