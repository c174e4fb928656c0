"""How many processes a run may use: a pure formula that reports every input, and its inputs.

A slot is one worker with what it may start: itself, a dump and a compressor, so three tasks.
The kernel counts threads as tasks, in every cgroup from our own up to the root. The code reads v1,
v2 and hybrid hosts, with or without a cgroup namespace. A file that cannot be read counts as no
limit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from holdfast.model.backup import Compressor
from holdfast.model.errors import MemoryShort
from holdfast.model.lazy_dataclass import dataclass

TASKS_PER_SLOT = 3
# Measured with the options that we pass: zstd and 7z start threads even if told to use one.
COMPRESSOR_TASKS = {
    Compressor.GZIP: 1,
    Compressor.PIGZ: 1,
    Compressor.ZSTD: 3,
    Compressor.SEVEN_ZIP: 3,
}
# Left free for others under the same limit: shells, hooks, the session itself.
RESERVED_TASKS = 100
# The most that `auto` takes: more must be requested as a number.
AUTO_SLOTS = 10
# Sessions in addition to the slots: the one that holds the snapshot, and one of a schema dump.
RESERVED_CONNECTIONS = 2
# The database uses the CPUs too while we compress, so two slots per CPU keep all CPUs busy.
SLOTS_PER_CPU = 2
# Used if no limit can be read.
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
    """The limits on tasks of this process; `pids_max` is the lowest of its cgroup and ancestors."""

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
        """The line that operators search for in the log; its words must not change."""
        return f"Initialized process semaphore with max {self.slots} concurrent processes"


# Measured: the interpreter with a driver, and a slot without its compressor. A slot has the buffers
# of its pipe and its read, and a share of the schema dumps (docs/benchmarks.md).
PROGRAM_BYTES = 80 << 20
SLOT_BYTES = 8 << 20
# Large objects that are read once are held in this, by all workers together. It is taken in blocks
# of half a MiB: two objects of a little more than 16 MiB fit.
BLOB_BYTES = 33 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBudget:
    """The memory that a run may use, and that one compressor needs, in bytes.

    If it stores blobs (`has_blobs`), `blob_bytes` of it hold them while they are named.
    """

    limit_bytes: int
    compressor_bytes: int
    has_blobs: bool = False

    @property
    def slots(self) -> int:
        free_bytes = self.limit_bytes - PROGRAM_BYTES - self.blob_bytes
        return free_bytes // (SLOT_BYTES + self.compressor_bytes)

    @property
    def blob_bytes(self) -> int:
        """At most a quarter of what one worker leaves: without memory, values are read twice."""
        if not self.has_blobs:
            return 0
        return max(0, min(BLOB_BYTES, (self.limit_bytes - self.least_bytes) // 4))

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

    Never less than one: if even that is too many, the kernel refuses, and names the limit better
    than a guess beforehand. Raises `MemoryShort` if not even one slot fits into the memory, because
    there the kernel would kill the run instead.
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
    """How many slots may work now; our own threads and slots do not count as used tasks."""
    own = threads + working * (tasks_per_slot - 1)
    free = [ceiling.free + own for ceiling in limits.ceilings]
    return max(1, (min(free) - RESERVED_TASKS) // tasks_per_slot) if free else MOST_SLOTS


def tasks_beside(compressor: Compressor | None) -> int:
    """The tasks of a slot whose dump goes through `compressor`.

    Three are its worker, the dump and the thread that reads the dump's errors. A compressor adds
    its own tasks and one thread that reads its errors.
    """
    return TASKS_PER_SLOT + (1 + COMPRESSOR_TASKS[compressor] if compressor else 0)


def tasks_for(slots: int) -> int:
    """The `TasksMax=` that allows a run that many slots: the inverse of the formula."""
    return slots * TASKS_PER_SLOT + RESERVED_TASKS


UNLIMITED = {"max", "unlimited"}


def live_limits(*, root: Path = Path("/"), uid: int | None = None) -> TaskLimits:
    """The limits of the process that `/proc/self` under `root` describes."""
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
    """A mounted cgroup file system: its mount point, and the group at its top."""

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
    """Our own groups and those above them: the folder of each, and its path below the mount."""
    for hierarchy, group in _our_groups(root / "proc/self"):
        mounted_at = root / hierarchy.mounted_at.relative_to("/")
        inside = _below(group, hierarchy.top)
        for level in (inside, *inside.parents):
            yield mounted_at / level, level


def _our_groups(proc_self: Path) -> Iterator[tuple[_Hierarchy, PurePosixPath]]:
    """Our group in each hierarchy that can count tasks; v2 has no controller names."""
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
    """`group` as a path below the mount; the mount itself if the group lies outside."""
    if ".." in group.parts or not group.is_relative_to(top):
        return PurePosixPath()
    return group.relative_to(top)


def _user_ceiling(proc: Path, uid: int) -> Iterator[Ceiling]:
    """RLIMIT_NPROC limits all tasks of the user; it does not apply to root."""
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
    """The limits of the kernel; the fourth word of loadavg is `running/all tasks`."""
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
