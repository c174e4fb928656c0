"""The remaining time of a run, from budgets and this machine's speed; pure arithmetic."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

# A job that has used its budget and still runs has an unknown rest, but not zero.
LAST_PART = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A running job: its budget, its time so far, and its progress if it reports any."""

    budget: float
    took: float
    done: float | None = None

    def share(self) -> float:
        """The finished share of the job, from 0 to 1."""
        if self.done is not None:
            return self.done
        return min(self.took / self.budget, 1 - LAST_PART)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A job that has ended."""

    budget: float
    took: float


def left(
    waiting: Sequence[float], running: Sequence[Running], ended: Sequence[Ended], *, lanes: int
) -> float:
    """Seconds until the last job ends; waiting jobs, given by budget, start in their order."""
    pace = _pace(running, ended)
    free = [(1 - job.share()) * job.budget * pace for job in running]
    free += [0.0] * (lanes - len(free))
    heapq.heapify(free)
    for budget in waiting:
        heapq.heappush(free, heapq.heappop(free) + budget * pace)
    return max(free)


def _pace(running: Sequence[Running], ended: Sequence[Ended]) -> float:
    """Real seconds per second of budget on this machine; 1 until something is known."""
    took = sum(job.took for job in running) + sum(job.took for job in ended)
    budget = sum(job.budget for job in ended) + sum(job.share() * job.budget for job in running)
    return took / budget if took and budget else 1.0
