"""Say what a backup would do, without doing any of it."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.limits.budget import Budget
from holdfast.model.backup import Manifest
from holdfast.operations.backup.free_space import last_good
from holdfast.operations.context import Context, JobSpec
from holdfast.ports.source import Source, SourcePlan

# Of a database that was never backed up: what one core compresses, give or take.
BYTES_PER_SECOND = 100e6


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """A database's next backup as it would be now.

    `bytes_per_second` is that of the last backup of the database, or a guess.
    """

    job: JobSpec
    source: SourcePlan
    budget: Budget
    free_bytes: int | None
    bytes_per_second: float
    is_measured: bool

    def seconds_for(self, size_bytes: int) -> float:
        return size_bytes / self.bytes_per_second


def plan(context: Context) -> list[PlanReport]:
    """Ask the source, the budget and the store, database by database.

    Raises what the source's check raises.
    """
    return [_plan_of(context, source) for source in context.source.databases()]


def _plan_of(context: Context, source: Source) -> PlanReport:
    planned = source.plan()
    speed = _speed(last_good(context, planned.server.database))
    return PlanReport(
        job=context.job,
        source=planned,
        budget=context.choose_workers(source),
        free_bytes=context.repository.free_bytes(),
        bytes_per_second=speed or BYTES_PER_SECOND,
        is_measured=bool(speed),
    )


def _speed(manifest: Manifest | None) -> float:
    """Plain bytes each second of the last backup; 0 where there is none to go by."""
    if manifest is None or manifest.seconds <= 0 or not manifest.plain_bytes:
        return 0.0
    return manifest.plain_bytes / manifest.seconds
