"""Filters over the runner's own formula of slots and tasks, loaded from the runner's source."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

# Loaded by path: the control node needs no runner, and a copy of the formula could diverge.
FORMULA = Path(__file__).parents[2] / "src/holdfast/limits/budget.py"


def formula() -> ModuleType:
    """The runner's module; it imports nothing else of the runner, so it can be loaded alone."""
    name = "holdfast_limits_budget"
    if name not in sys.modules:
        found = importlib.util.spec_from_file_location(name, FORMULA)
        if found is None or found.loader is None:
            raise ImportError(f"cannot read the formula of slots: there is no file '{FORMULA}'")
        module = importlib.util.module_from_spec(found)
        # Dataclasses look up their module by name while it is loaded.
        sys.modules[name] = module
        found.loader.exec_module(module)
    return sys.modules[name]


def slots_of_jobs(jobs: Mapping[str, Mapping[str, Any]]) -> int:
    """The most slots that any of the jobs may take; `auto` counts as the runner's own default."""
    automatic = int(formula().AUTO_SLOTS)
    asked = [job.get("max_concurrent_processes", "auto") for job in jobs.values()]
    numbers = [automatic if number == "auto" else int(number) for number in asked]
    return max(numbers, default=automatic)


def tasks_for_slots(slots: int) -> int:
    """The `TasksMax=` that a run needs for that many slots."""
    return int(formula().tasks_for(int(slots)))


class FilterModule:
    """The class in which Ansible finds the filters."""

    def filters(self) -> dict[str, Callable[..., int]]:
        """The filters by their names in templates."""
        return {"slots_of_jobs": slots_of_jobs, "tasks_for_slots": tasks_for_slots}
