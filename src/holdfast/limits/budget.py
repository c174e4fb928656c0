"""How many processes a run may use: one formula, pure, with every input shown.

A slot is one worker with what it may start: itself, a dump and a compressor, so three tasks.
The kernel counts threads as tasks, in every cgroup from our own up to the root.
"""

from __future__ import annotations

from dataclasses import dataclass

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
