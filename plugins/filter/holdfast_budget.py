"""Filters over the runner's own formula of slots and tasks, read from the very file it runs."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

# By path: a control node needs no runner installed, and a copy of the formula could go its own way.
FORMULA = Path(__file__).parents[2] / "src/holdfast/limits/budget.py"


def formula() -> ModuleType:
    """The runner's module; pure, so that loading it alone is enough."""
    name = "holdfast_limits_budget"
    if name not in sys.modules:
        found = importlib.util.spec_from_file_location(name, FORMULA)
        if found is None or found.loader is None:
            raise ImportError(f"cannot read the formula of slots: no '{FORMULA}'")
        module = importlib.util.module_from_spec(found)
        # Dataclasses look their module up by name while it is being made.
        sys.modules[name] = module
        found.loader.exec_module(module)
    return sys.modules[name]


def slots_of_jobs(jobs: Mapping[str, Mapping[str, Any]]) -> int:
    """The most slots that one of the jobs may take; `auto` takes what the runner says it takes."""
    automatic = int(formula().AUTO_SLOTS)
    asked = [job.get("max_concurrent_processes", "auto") for job in jobs.values()]
    numbers = [automatic if number == "auto" else int(number) for number in asked]
    return max(numbers, default=automatic)


def tasks_for_slots(slots: int) -> int:
    """The `TasksMax=` under which a run gets that many slots."""
    return int(formula().tasks_for(int(slots)))


class FilterModule:
    """How Ansible finds the filters."""

    def filters(self) -> dict[str, Callable[..., int]]:
        """Their names in templates."""
        return {"slots_of_jobs": slots_of_jobs, "tasks_for_slots": tasks_for_slots}
