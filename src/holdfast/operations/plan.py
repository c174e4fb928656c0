"""Say what a backup would do, without doing any of it."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.operations.plugs import JobSpec, Plugs
from holdfast.ports import SourcePlan
from holdfast.scheduling.budget import Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """A job's next run as it would be now."""

    job: JobSpec
    source: SourcePlan
    budget: Budget
    free_bytes: int | None


def plan(plugs: Plugs) -> PlanReport:
    """Ask the source, the budget and the store; raises what the source's check raises."""
    source = plugs.source.plan()
    return PlanReport(
        job=plugs.job,
        source=source,
        budget=plugs.choose_workers(),
        free_bytes=plugs.repository.free_bytes(),
    )
