"""Plan a backup: what it would read, how long it would take, and whether it fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from holdfast.catalog.catalog import Catalog
from holdfast.model.errors import RepositoryFull
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.units import size

if TYPE_CHECKING:
    from holdfast.limits.budget import Budget
    from holdfast.model.backup import Manifest, PartPlan
    from holdfast.operations.context import JobSpec
    from holdfast.ports.repository import Repository
    from holdfast.ports.source import Source, SourcePlan

# Better than any real database compresses: without an earlier backup to measure, only a backup
# that cannot possibly fit is refused.
BEST_RATIO = 20.0
# A guess for a database without a backup: roughly what one core compresses.
BYTES_PER_SECOND = 100e6


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanContext:
    """The dependencies of a plan: the source, the repository, and the limit of workers."""

    job: JobSpec
    source: Source
    repository: Repository
    choose_workers: Callable[[Source], Budget]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """The next backup of a database, if it began now.

    `bytes_per_second` is measured from the last backup of the database if `is_measured`, else a
    guess.
    """

    job: JobSpec
    source: SourcePlan
    budget: Budget
    free_bytes: int | None
    bytes_per_second: float
    is_measured: bool

    def seconds_for(self, size_bytes: int) -> float:
        return size_bytes / self.bytes_per_second


def plan(context: PlanContext) -> list[PlanReport]:
    """Ask the source, the budget and the store, database by database.

    Raises what the source's check raises.
    """
    return [_plan_of(context, source) for source in context.source.databases()]


def _plan_of(context: PlanContext, source: Source) -> PlanReport:
    planned = source.plan()
    last = last_good(context.repository, job=context.job.name, database=planned.server.database)
    speed = _speed(last)
    return PlanReport(
        job=context.job,
        source=planned,
        budget=context.choose_workers(source),
        free_bytes=context.repository.free_bytes(),
        bytes_per_second=speed or BYTES_PER_SECOND,
        is_measured=bool(speed),
    )


def _speed(manifest: Manifest | None) -> float:
    """Plain bytes per second of the last backup; 0 if there is none to measure."""
    if manifest is None or manifest.seconds <= 0 or not manifest.plain_bytes:
        return 0.0
    return manifest.plain_bytes / manifest.seconds


def require_room(
    repository: Repository, plans: Sequence[PartPlan], *, job: str, database: str
) -> None:
    """Raises `RepositoryFull` if the backup would not fit at the last one's compression ratio."""
    free = repository.free_bytes()
    if free is None:
        return
    estimated = sum(part.estimated_bytes for part in plans)
    if estimated <= free:
        # It fits uncompressed: no manifest has to be read for the ratio.
        return
    needed = int(estimated / _ratio(last_good(repository, job=job, database=database)))
    if needed > free:
        raise RepositoryFull(
            f"cannot store a backup of database '{database}': about {size(needed)} are"
            f" needed, {size(free)} are free",
            hint="free space, prune old backups (holdfast prune), or use a larger store",
        )


def last_good(repository: Repository, *, job: str, database: str) -> Manifest | None:
    """The newest backup of the database in this job."""
    manifests = Catalog(repository).survey(job).manifests
    return next((each for each in manifests if each.server.database == database), None)


def _ratio(manifest: Manifest | None) -> float:
    if manifest is None or not manifest.stored_bytes or not manifest.plain_bytes:
        return BEST_RATIO
    return max(1.0, manifest.plain_bytes / manifest.stored_bytes)
