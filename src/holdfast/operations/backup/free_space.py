"""Whether a backup will fit, asked before its first byte."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.catalog.catalog import Catalog
from holdfast.model.backup import Manifest, PartPlan
from holdfast.model.errors import RepositoryFull
from holdfast.operations.context import Context

# Better than any real database compresses: with no backup to judge by, only what cannot
# possibly fit is refused.
BEST_RATIO = 20.0


def require_room(context: Context, database: str, plans: Sequence[PartPlan]) -> None:
    """Raises `RepositoryFull` where not even the ratio of the last backup would make it fit."""
    free = context.repository.free_bytes()
    if free is None:
        return
    estimated = sum(part.estimated_bytes for part in plans)
    needed = int(estimated / _ratio(last_good(context, database)))
    if needed > free:
        raise RepositoryFull(
            f"cannot store a backup of database '{database}': about {_megabytes(needed)} are"
            f" needed, {_megabytes(free)} are free",
            hint="free some room, prune old backups (holdfast prune), or use a larger store",
        )


def last_good(context: Context, database: str) -> Manifest | None:
    """The newest backup of the database in this job."""
    manifests = Catalog(context.repository).survey(context.job.name).manifests
    return next((each for each in manifests if each.server.database == database), None)


def _ratio(manifest: Manifest | None) -> float:
    if manifest is None or not manifest.stored_bytes or not manifest.plain_bytes:
        return BEST_RATIO
    return max(1.0, manifest.plain_bytes / manifest.stored_bytes)


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
