"""Whether a job's server is still the one that its backups and its WAL are of.

Files of one cluster are of no use to another one, though all of their names are the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.catalog.places import MANIFEST, WAL, place_of
from holdfast.model.backup import Manifest
from holdfast.model.errors import BackupNotFound, ClusterChanged, ManifestInvalid
from holdfast.operations.context import ArchiveContext, JobSpec
from holdfast.operations.wal.list import CLUSTER
from holdfast.ports.repository import Repository

# Backups that are damaged, or were taken by another method, are passed over.
MOST_LOOKED_AT = 20


def require_cluster_of_backups(job: JobSpec, repository: Repository, cluster: str) -> None:
    """Raises `ClusterChanged` where the newest backup is of another one, or the job says so."""
    if not _is_named(job, cluster):
        _require_same(job, _newest(repository, job.name), cluster)


def _require_same(job: JobSpec, newest: Manifest | None, cluster: str) -> None:
    if newest is not None and newest.proof[CLUSTER] != cluster:
        raise _changed(
            job,
            cluster,
            f"its backups, such as '{newest.backup_id}', are of cluster {newest.proof[CLUSTER]}",
        )


def require_cluster_of_wal(context: ArchiveContext, cluster: str) -> None:
    """Raises `ClusterChanged` where neither backups nor WAL of the job are of that cluster.

    Found out once on each host: a server archives a segment every few seconds.
    """
    if _is_named(context.job, cluster) or cluster in context.clusters:
        return
    job, repository = context.job, context.repositories[0]
    if next(iter(repository.list(f"{job.name}{WAL}/{cluster}")), None) is None:
        newest = _newest(repository, job.name)
        _require_same(job, newest, cluster)
        if newest is None:
            _require_first(job, repository, cluster)
    context.clusters.add(cluster)


def _require_first(job: JobSpec, repository: Repository, cluster: str) -> None:
    other = next(iter(repository.list(f"{job.name}{WAL}")), None)
    if other is not None:
        known = other.key.split("/")[1]
        raise _changed(job, cluster, f"its archived WAL is of cluster {known}")


def _is_named(job: JobSpec, cluster: str) -> bool:
    """Whether the job says that it is this one; raises where it says another."""
    if job.cluster and job.cluster != cluster:
        raise _changed(job, cluster, f"its system_identifier is {job.cluster}")
    return bool(job.cluster)


def _newest(repository: Repository, job: str) -> Manifest | None:
    # Loaded where it is used: a server starts `wal push` anew for each segment.
    from holdfast.catalog.catalog import Catalog

    catalog = Catalog(repository)
    for backup_id in _newest_first(repository, job):
        try:
            manifest = catalog.find(backup_id)
        except (ManifestInvalid, BackupNotFound):
            continue
        if CLUSTER in manifest.proof:
            return manifest
    return None


def _newest_first(repository: Repository, job: str) -> Iterator[str]:
    """By their names, which begin with the time."""
    places = (place_of(stored.key) for stored in repository.list(job))
    found = sorted(
        (each.backup_id for each in places if each and each.file == MANIFEST), reverse=True
    )
    yield from found[:MOST_LOOKED_AT]


def _changed(job: JobSpec, cluster: str, because: str) -> ClusterChanged:
    return ClusterChanged(
        f"cannot go on with job '{job.name}': cluster {cluster} answers, and {because}",
        hint="give it a job of its own; where it has taken the other one's place (pg_upgrade, a"
        f" new initdb), say so once: system_identifier: {cluster} in the job's source",
    )
