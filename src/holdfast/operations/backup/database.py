"""Back up one database: take a snapshot, store its parts, and commit the manifest last."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.catalog.catalog import Catalog
from holdfast.model.backup import POSTGRES_CLUSTER, Consistency, Manifest, Part, PartPlan
from holdfast.model.errors import (
    DatabaseUnreachable,
    HoldfastError,
    LeaseLost,
    RepositoryUnreachable,
    SnapshotLost,
)
from holdfast.operations.backup.attempt import Attempt, BackupChoice, begun, give_up
from holdfast.operations.backup.earlier import Reusable, following, offer_list, require_parents
from holdfast.operations.backup.plan import require_room
from holdfast.operations.parts.blob_read import BlobNames
from holdfast.operations.parts.blobs import BlobWriter, KnownBlobs
from holdfast.operations.parts.write import store_part, tell_stored
from holdfast.operations.wal.list import require_cluster_of_backups
from holdfast.ports.host_state import Unfinished
from holdfast.runtime.cleanup import noted_on, on_failure
from holdfast.runtime.events import reached
from holdfast.runtime.worker_pool import WorkerPool

if TYPE_CHECKING:
    from holdfast.operations.context import BackupContext
    from holdfast.ports.run import Hold
    from holdfast.ports.source import Snapshot, Source


def back_up(
    context: BackupContext,
    source: Source,
    choice: BackupChoice,
    *,
    run_id: str,
    name_id: str,
    hold: Hold,
) -> Manifest:
    """Back up one database; returns the committed manifest.

    A failure never leaves anything that could be mistaken for a backup. The parts are removed, or
    kept for a later resume if the job allows that. A record of the failure names its cause.
    """
    source = following(context, source)
    attempt = begun(context, source, choice, run_id=run_id, name_id=name_id, hold=hold)
    catalog = Catalog(context.repository)
    try:
        manifest = _taken(attempt, catalog)
    except BaseException as error:
        with noted_on(error):
            give_up(attempt, catalog, error)
        raise
    attempt.release(finished=True)
    context.state.journal.end(context.job.name, source.database)
    with suppress(HoldfastError):
        context.state.file_lists.settle(context.job.name)
    with suppress(HoldfastError):
        context.state.gauges.show_backup(manifest)
    return manifest


def _taken(attempt: Attempt, catalog: Catalog) -> Manifest:
    context = attempt.context
    began, cpu_before = time.monotonic(), context.host.cpu_seconds()
    with attempt.watchdog.opening():
        workers = attempt.recoveries.trying(
            lambda: context.host.choose_workers(attempt.source),
            on=DatabaseUnreachable,
            what="counting the server's free connections",
        ).slots
    blobs = _blobs(attempt, catalog)
    with attempt.throttle.kept(), _opened(attempt, workers, blobs) as (snapshot, is_mixed):
        _prepare(attempt, snapshot, is_mixed=is_mixed)
        reached("snapshot-taken")
        reusable = _reusable(attempt, is_mixed=is_mixed)
        parts = _store_parts(attempt, snapshot, reusable, workers=workers)
        offer_list(context, snapshot)
        manifest = _manifest(
            attempt, snapshot, parts, reusable=reusable, blobs=blobs, workers=workers
        )
    reached("parts-stored")
    seconds = time.monotonic() - began
    manifest = replace(
        manifest,
        metrics=_metrics(
            attempt,
            manifest,
            blobs,
            seconds=seconds,
            cpu_seconds=context.host.cpu_seconds() - cpu_before,
        ),
    )
    _commit(attempt, catalog, manifest)
    reached("manifest-stored")
    return manifest


def _manifest(
    attempt: Attempt,
    snapshot: Snapshot,
    parts: Sequence[Part],
    *,
    reusable: Reusable,
    blobs: BlobWriter,
    workers: int,
) -> Manifest:
    context = attempt.context
    return Manifest(
        job=context.job.name,
        name=attempt.beginning.name,
        run_id=attempt.beginning.run_id,
        host=context.host.name,
        engine=attempt.source.engine,
        server=snapshot.server,
        consistency=Consistency.MIXED if reusable.used_mixed else snapshot.consistency,
        proof=reusable.told_in(snapshot.proof),
        tools=snapshot.tools,
        started_at=attempt.beginning.started_at,
        snapshot_at=snapshot.taken_at,
        finished_at=context.host.clock(),
        peak_memory_bytes=context.host.peak_memory_bytes(),
        workers=workers,
        # Only a resume of this backup needs the memos, and the backup is finished.
        parts=tuple(replace(part, memo="") for part in parts),
        blobs=blobs.kept,
        notes=(*context.job.notes, *snapshot.notes),
        recipients=context.job.form.recipients,
        blob_secret=blobs.secret,
    )


def _prepare(attempt: Attempt, snapshot: Snapshot, *, is_mixed: bool) -> None:
    """Before the first byte: reuse earlier parts, check free space, write the journal entry.

    Raises `RepositoryFull`, and `ClusterChanged` for a physical backup of another cluster.
    """
    attempt.outcome.snapshot = snapshot
    _require_same_cluster(attempt, snapshot)
    before = attempt.beginning.earlier
    earlier = before.parts if before and not is_mixed else ()
    if earlier:
        snapshot.go_on_from(earlier)
    require_room(
        attempt.context.repository,
        snapshot.parts,
        job=attempt.context.job.name,
        database=attempt.source.database,
    )
    _note(attempt, snapshot, earlier)


def _require_same_cluster(attempt: Attempt, snapshot: Snapshot) -> None:
    """Raises `ClusterChanged`; physical backups only, as rows may come from another cluster."""
    cluster = snapshot.proof.cluster
    if cluster and snapshot.server.kind == POSTGRES_CLUSTER:
        context = attempt.context
        attempt.recoveries.trying(
            lambda: require_cluster_of_backups(context.job, context.repository, cluster),
            on=RepositoryUnreachable,
            what="looking up the cluster of earlier backups",
        )


def _commit(attempt: Attempt, catalog: Catalog, manifest: Manifest) -> None:
    """Store the manifest only while this run owns the job.

    A host that takes the job over removes parts that have no manifest. Raises `LeaseLost`.
    """
    trying, hold = attempt.recoveries.trying, attempt.hold
    trying(hold.prove, on=RepositoryUnreachable, what="checking the lease of the job")
    trying(
        lambda: require_parents(catalog, manifest),
        on=RepositoryUnreachable,
        what="checking the parents",
    )
    trying(lambda: catalog.commit(manifest), on=RepositoryUnreachable, what="storing the manifest")
    if hold.lost:
        # This process was suspended for a whole lease_time: the parts may be gone already.
        is_gone = _withdrawn(catalog, manifest)
        raise LeaseLost(
            f"cannot finish backup '{manifest.backup_id}': {hold.lost}",
            hint="run the backup again, unless another host has done so"
            if is_gone
            else "it is listed because its manifest could not be removed: holdfast verify shows"
            " whether another host has removed parts of it",
        )


def _withdrawn(catalog: Catalog, manifest: Manifest) -> bool:
    """Remove the manifest again; returns whether the backup is no longer listed."""
    try:
        catalog.withdraw(manifest)
        return not catalog.is_finished(manifest.backup_id)
    except HoldfastError:
        return False


@contextmanager
def _opened(attempt: Attempt, workers: int, blobs: BlobWriter) -> Iterator[tuple[Snapshot, bool]]:
    """The snapshot, and whether it differs from the snapshot of the parts to be resumed.

    Raises `SnapshotLost` if it does, there are parts to resume, and `allow_mixed` is off.
    """
    earlier = attempt.beginning.earlier
    with ExitStack() as stack:

        def enter(rejoin: str) -> Snapshot:
            source = attempt.source.knowing(earlier.memo) if rejoin and earlier else attempt.source
            with attempt.watchdog.opening():
                return attempt.recoveries.trying(
                    lambda: stack.enter_context(
                        source.open(workers=workers, blobs=blobs, rejoin=rejoin)
                    ),
                    on=DatabaseUnreachable,
                    what="taking the snapshot",
                )

        if earlier is None:
            yield enter(""), False
            return
        try:
            snapshot, is_mixed = enter(earlier.snapshot), False
        except SnapshotLost as error:
            if earlier.parts and not attempt.beginning.allow_mixed:
                raise SnapshotLost(
                    f"cannot resume backup '{attempt.backup_id}': {error.message}",
                    hint="use --allow-mixed to keep its parts and read the others from a new"
                    " snapshot, or omit --resume to back up everything again",
                ) from error
            snapshot, is_mixed = enter(""), True
        yield snapshot, is_mixed


def _blobs(attempt: Attempt, catalog: Catalog) -> BlobWriter:
    job = attempt.context.job

    def known() -> KnownBlobs:
        survey = catalog.survey(job.name)
        # Newest last, so that it wins: an older backup may describe a blob replaced since.
        found = (blob for manifest in reversed(survey.manifests) for blob in manifest.blobs)
        return KnownBlobs({blob.key: blob for blob in found}, is_all=survey.is_readable)

    secret = attempt.context.state.blob_secret() if job.form.recipients else b""
    return BlobWriter(
        attempt.context.repository,
        job=job.name,
        codec=job.form.codec,
        level=job.form.level,
        advance=attempt.advance,
        names=BlobNames(secret, job.form.recipients),
        known=known,
        fingerprints=job.form.fingerprints,
        memory_bytes=job.form.blob_memory_bytes,
    )


def _reusable(attempt: Attempt, *, is_mixed: bool) -> Reusable:
    context = attempt.context
    return Reusable(
        context.repository,
        attempt.beginning.earlier,
        is_mixed=is_mixed,
        recipients=context.job.form.recipients,
    )


def _note(attempt: Attempt, snapshot: Snapshot, earlier: tuple[Part, ...]) -> None:
    """Write the journal entry that a resume of this run needs."""
    job = attempt.context.job
    attempt.context.state.journal.begin(
        Unfinished(
            job=job.name,
            name=attempt.beginning.name,
            run_id=attempt.beginning.run_id,
            database=attempt.source.database,
            snapshot=snapshot.proof.snapshot,
            started_at=attempt.beginning.started_at,
            snapshot_at=snapshot.taken_at,
            # If this run is killed too, the next one can reuse parts that it has not reached yet.
            parts=earlier,
            recipients=job.form.recipients,
            memo=snapshot.memo,
        )
    )


def _store_parts(
    attempt: Attempt, snapshot: Snapshot, reusable: Reusable, *, workers: int
) -> list[Part]:
    context, plans = attempt.context, snapshot.parts
    context.progress.begin(
        total_bytes=sum(part.estimated_bytes for part in plans), parts=len(plans)
    )

    def end() -> None:
        attempt.throttle.end()
        snapshot.abort()

    def store(each: Sequence[PartPlan]) -> list[Part]:
        pool = WorkerPool(workers, abort=end, limit=context.host.limit_workers(workers))
        return pool.map(
            each, lambda part: _stored(attempt, part, snapshot=snapshot, reusable=reusable)
        )

    with attempt.watchdog.over(end):
        stored = store(plans)
        reached("parts-read")
        if closing := snapshot.closing_parts(stored):
            stored += store(closing)
        return stored


def _stored(attempt: Attempt, plan: PartPlan, *, snapshot: Snapshot, reusable: Reusable) -> Part:
    context = attempt.context
    reached("part-begun")
    with on_failure(attempt.outcome.fail, plan):
        key = attempt.key_of(plan)
        part = reusable.part_for(plan, key, advance=attempt.advance)
        if part is None:
            part = _put(attempt, snapshot, plan, key=reusable.free_key(key))
    outcome = attempt.outcome
    with outcome.lock:
        if outcome.failed_at is plan:
            # The kernel had refused it a task, and a later try stored it.
            outcome.failed_at = None
        outcome.stored.append(part)
        context.state.journal.add(context.job.name, attempt.source.database, part)
    context.progress.part_done(part.name)
    tell_stored(part)
    reached("part-stored")
    return part


def _put(attempt: Attempt, snapshot: Snapshot, plan: PartPlan, *, key: str) -> Part:
    """Store one part; if the repository is unreachable, read it again from the start."""
    part: Part
    for each in attempt.recoveries.attempts(
        on=RepositoryUnreachable, what=f"storing '{plan.name}'"
    ):
        with each:
            part = store_part(
                snapshot,
                plan,
                into=attempt.context.repository,
                key=key,
                form=attempt.context.job.form,
                advance=attempt.advance,
            )
    return part


def _metrics(
    attempt: Attempt, manifest: Manifest, blobs: BlobWriter, *, seconds: float, cpu_seconds: float
) -> dict[str, float]:
    """Metrics of the whole backup; those of a table are kept with its part."""
    seconds = max(seconds, 0.001)
    stored = manifest.stored_bytes
    return {
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "cpu_percent": round(100 * cpu_seconds / seconds, 1),
        "read_bytes_per_second": round(manifest.plain_bytes / seconds),
        "written_bytes_per_second": round(stored / seconds),
        "compression_ratio": round(manifest.plain_bytes / stored, 3) if stored else 1.0,
        "recoveries": attempt.recoveries.count + blobs.healed,
        "paused_seconds": round(attempt.throttle.paused_seconds, 1),
        "refused_tasks": attempt.context.host.refused_tasks() - attempt.beginning.refused_tasks,
        "blobs": len(manifest.blobs),
        "blobs_stored": blobs.stored,
    }
