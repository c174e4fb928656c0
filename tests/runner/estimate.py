"""How long a run still takes, from budgets and from how fast this machine is; pure arithmetic."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

# A job that has used its budget and is not done: nobody knows, but not nothing.
LAST_PART = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A job that has begun: its budget, what it took so far, and how far it is where it tells."""

    budget: float
    took: float
    done: float | None = None

    def share(self) -> float:
        """How much of it is done, from 0 to 1."""
        if self.done is not None:
            return self.done
        return min(self.took / self.budget, 1 - LAST_PART)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A job that is over."""

    budget: float
    took: float


def left(
    waiting: Sequence[float], running: Sequence[Running], ended: Sequence[Ended], *, lanes: int
) -> float:
    """Seconds until the last job ends; those that wait, by budget, begin in their order."""
    pace = _pace(running, ended)
    free = [(1 - job.share()) * job.budget * pace for job in running]
    free += [0.0] * (lanes - len(free))
    heapq.heapify(free)
    for budget in waiting:
        heapq.heappush(free, heapq.heappop(free) + budget * pace)
    return max(free)


def _pace(running: Sequence[Running], ended: Sequence[Ended]) -> float:
    """What a second of a budget takes here; one until something is known."""
    took = sum(job.took for job in running) + sum(job.took for job in ended)
    budget = sum(job.budget for job in ended) + sum(job.share() * job.budget for job in running)
    return took / budget if took and budget else 1.0
