"""How many processes a run may use: one formula, pure, with every input shown.

A slot is one worker with what it may start: itself, a dump and a compressor, so three tasks.
The kernel counts threads as tasks, in every cgroup from our own up to the root.
"""

from __future__ import annotations

from dataclasses import dataclass

TASKS_PER_SLOT = 3
# Tasks left alone for whoever else lives under the same limit: shells, hooks, the session itself.
RESERVED_TASKS = 100
# What `auto` takes at most: more must be asked for by number.
AUTO_SLOTS = 10
# Sessions beside those of the slots: the one that holds the snapshot, and a schema dump's.
RESERVED_CONNECTIONS = 2
# The database works too while we compress, so two per CPU keep all CPUs busy.
SLOTS_PER_CPU = 2


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
class Limits:
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


def process_budget(limits: Limits, *, asked: int | None, connections_free: int | None) -> Budget:
    """The slots for a run: what was asked for (None is `auto`), lowered to what is possible.

    Never less than one: a run that is too tight is ended by the kernel's own refusal, which
    names the limit better than a guess beforehand.
    """
    allowed: dict[str, int] = {}
    if asked is None:
        allowed["auto"] = AUTO_SLOTS
        allowed["cpus"] = limits.cpus * SLOTS_PER_CPU
    else:
        allowed["asked"] = asked
    for ceiling in limits.ceilings:
        allowed[ceiling.name] = (ceiling.free - RESERVED_TASKS) // TASKS_PER_SLOT
    if limits.pids_max is not None:
        allowed["upper_bound"] = (limits.pids_max - RESERVED_TASKS) // TASKS_PER_SLOT
    if connections_free is not None:
        allowed["connections"] = connections_free - RESERVED_CONNECTIONS
    allowed = {name: max(1, slots) for name, slots in allowed.items()}
    decided_by = min(allowed, key=lambda name: allowed[name])
    return Budget(
        slots=allowed[decided_by],
        decided_by=decided_by,
        allowed=allowed,
        ceilings=limits.ceilings,
    )


def tasks_for(slots: int) -> int:
    """The `TasksMax=` under which a run gets that many slots: the formula read backwards."""
    return slots * TASKS_PER_SLOT + RESERVED_TASKS
