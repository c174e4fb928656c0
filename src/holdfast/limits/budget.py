"""How many processes a run may use: one formula, pure, with every input shown; then its inputs.

A slot is one worker with what it may start: itself, a dump and a compressor, so three tasks.
The kernel counts threads as tasks, in every cgroup from our own up to the root: v1, v2 and hybrid
hosts, with or without a cgroup namespace of our own. What cannot be read there does not count: a
missing file is a limit that is not there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from holdfast.model.backup import Compressor
from holdfast.model.errors import MemoryShort

TASKS_PER_SLOT = 3
# Measured, with the options that they are called with: zstd and 7z start threads for one, too.
COMPRESSOR_TASKS = {
    Compressor.GZIP: 1,
    Compressor.PIGZ: 1,
    Compressor.ZSTD: 3,
    Compressor.SEVEN_ZIP: 3,
}
# Tasks left alone for whoever else lives under the same limit: shells, hooks, the session itself.
RESERVED_TASKS = 100
# What `auto` takes at most: more must be asked for by number.
AUTO_SLOTS = 10
# Sessions beside those of the slots: the one that holds the snapshot, and a schema dump's.
RESERVED_CONNECTIONS = 2
# The database works too while we compress, so two per CPU keep all CPUs busy.
SLOTS_PER_CPU = 2
# Where no limit can be read.
MOST_SLOTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """One limit on tasks and how much of it is used now."""

    name: str
    most: int
    used: int

    @property
    def free(self) -> int:
        return max(0, self.most - self.used)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLimits:
    """What this process may still start; `pids_max` is the least of its cgroup and ancestors."""

    cpus: int
    ceilings: tuple[Ceiling, ...] = ()
    pids_max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The number of slots, what each input alone would allow, and which one decided."""

    slots: int
    decided_by: str
    allowed: dict[str, int]
    ceilings: tuple[Ceiling, ...]

    @property
    def headline(self) -> str:
        """The line that operators look for in the log, word for word."""
        return f"Initialized process semaphore with max {self.slots} concurrent processes"


# Measured: the interpreter with a driver, and what a slot holds beside its compressor: the
# buffers of its pipe and its read, and a share of the schema dumps (docs/benchmarks.md).
PROGRAM_BYTES = 80 << 20
SLOT_BYTES = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBudget:
    """What a run may use, and what one compressor needs, in bytes."""

    limit_bytes: int
    compressor_bytes: int

    @property
    def slots(self) -> int:
        return (self.limit_bytes - PROGRAM_BYTES) // (SLOT_BYTES + self.compressor_bytes)

    @property
    def least_bytes(self) -> int:
        return PROGRAM_BYTES + SLOT_BYTES + self.compressor_bytes


def process_budget(
    limits: TaskLimits,
    *,
    asked: int | None,
    connections_free: int | None,
    memory: MemoryBudget | None = None,
    tasks_per_slot: int = TASKS_PER_SLOT,
) -> Budget:
    """The slots for a run: what was asked for (None is `auto`), lowered to what is possible.

    Never less than one: a run that is too tight is ended by the kernel's own refusal, which
    names the limit better than a guess beforehand. But raises `MemoryShort` where not even one
    fits into the memory, which the kernel would not refuse but kill for.
    """
    if memory is not None and memory.slots < 1:
        raise MemoryShort(
            f"cannot run in {memory.limit_bytes >> 20} MiB of memory: one worker with its"
            f" compressor needs {-(-memory.least_bytes >> 20)} MiB",
            hint="raise the job's memory_limit_mb, or lower its compression level",
        )
    allowed: dict[str, int] = {}
    if asked is None:
        allowed["auto"] = AUTO_SLOTS
        allowed["cpus"] = limits.cpus * SLOTS_PER_CPU
    else:
        allowed["asked"] = asked
    for ceiling in limits.ceilings:
        allowed[ceiling.name] = (ceiling.free - RESERVED_TASKS) // tasks_per_slot
    if limits.pids_max is not None:
        allowed["upper_bound"] = (limits.pids_max - RESERVED_TASKS) // TASKS_PER_SLOT
    if connections_free is not None:
        allowed["connections"] = connections_free - RESERVED_CONNECTIONS
    if memory is not None:
        allowed["memory"] = memory.slots
    allowed = {name: max(1, slots) for name, slots in allowed.items()}
    decided_by = min(allowed, key=lambda name: allowed[name])
    return Budget(
        slots=allowed[decided_by],
        decided_by=decided_by,
        allowed=allowed,
        ceilings=limits.ceilings,
    )


def slots_now(
    limits: TaskLimits, *, working: int, threads: int, tasks_per_slot: int = TASKS_PER_SLOT
) -> int:
    """How many may work now; tasks of our own threads and slots are not counted against us."""
    own = threads + working * (tasks_per_slot - 1)
    free = [ceiling.free + own for ceiling in limits.ceilings]
    return max(1, (min(free) - RESERVED_TASKS) // tasks_per_slot) if free else MOST_SLOTS


def tasks_beside(compressor: Compressor | None) -> int:
    """The tasks of a slot whose dump goes through that program.

    Its worker, the dump and the thread that reads the dump's errors are three; the program has
    its own, and one more that reads its errors.
    """
    return TASKS_PER_SLOT + (1 + COMPRESSOR_TASKS[compressor] if compressor else 0)


def tasks_for(slots: int) -> int:
    """The `TasksMax=` under which a run gets that many slots: the formula read backwards."""
    return slots * TASKS_PER_SLOT + RESERVED_TASKS


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
