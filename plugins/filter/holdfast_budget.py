"""Filters over the runner's own formula of slots and tasks, which units have to allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# As in `holdfast.limits.budget`, which a test compares: the control node has no runner to ask.
TASKS_PER_SLOT = 3
RESERVED_TASKS = 100
AUTO_SLOTS = 10


def slots_of_jobs(jobs: Mapping[str, Mapping[str, Any]]) -> int:
    """The most slots that any of the jobs may take; `auto` counts as the runner's own default."""
    asked = [job.get("max_concurrent_processes", "auto") for job in jobs.values()]
    numbers = [AUTO_SLOTS if number == "auto" else int(number) for number in asked]
    return max(numbers, default=AUTO_SLOTS)


def tasks_for_slots(slots: int) -> int:
    """The `TasksMax=` that a run needs for that many slots."""
    return int(slots) * TASKS_PER_SLOT + RESERVED_TASKS


class FilterModule:
    """The class in which Ansible finds the filters."""

    def filters(self) -> dict[str, Callable[..., int]]:
        """The filters by their names in templates."""
        return {"slots_of_jobs": slots_of_jobs, "tasks_for_slots": tasks_for_slots}
