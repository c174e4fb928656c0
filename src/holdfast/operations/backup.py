"""Take one snapshot, keep its parts, and only then say that there is a backup."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from holdfast.catalog.catalog import Catalog
from holdfast.errors import DeadlineExceeded, HoldfastError, Interrupted, RunInFlight
from holdfast.model import Manifest, Part
from holdfast.operations.parts import store_part
from holdfast.operations.plugs import JobSpec, Plugs
from holdfast.ports import RunRecord, Snapshot
from holdfast.scheduling.slots import run_all


def backup(plugs: Plugs) -> Manifest:
    """Back up one job; the manifest that was committed.

    Whatever goes wrong, nothing of this run stays in the repository, and the ledger says what
    it was. Raises `RunInFlight` where another run owns the job.
    """
    started_at = plugs.clock()
    run_id = plugs.new_run_id()
    with _recorded(plugs, run_id, started_at) as done:
        deadline = started_at + plugs.job.timeout if plugs.job.timeout else None
        with plugs.guard.hold(plugs.job.name, deadline=deadline):
            catalog = Catalog(plugs.repository)
            catalog.sweep(plugs.job.name)
            manifest = _take(plugs, catalog, run_id, started_at)
        done(manifest)
    return manifest


def _take(plugs: Plugs, catalog: Catalog, run_id: str, started_at: datetime) -> Manifest:
    name = backup_name(started_at, run_id)
    backup_id = f"{plugs.job.name}/{name}"
    try:
        workers = plugs.choose_workers().slots
        with plugs.source.open(workers=workers) as snapshot:
            parts = _store_parts(plugs, snapshot, backup_id, workers)
            manifest = Manifest(
                job=plugs.job.name,
                name=name,
                run_id=run_id,
                host=plugs.host,
                engine=plugs.source.engine,
                server=snapshot.server,
                consistency=snapshot.consistency,
                proof=snapshot.proof,
                tools=snapshot.tools,
                started_at=started_at,
                snapshot_at=snapshot.taken_at,
                finished_at=plugs.clock(),
                peak_memory_bytes=plugs.peak_memory_bytes(),
                workers=workers,
                parts=tuple(parts),
            )
        catalog.commit(manifest)
    except BaseException:
        catalog.discard(backup_id)
        raise
    return manifest


def _store_parts(plugs: Plugs, snapshot: Snapshot, backup_id: str, workers: int) -> list[Part]:
    plugs.progress.begin(
        total_bytes=sum(part.estimated_bytes for part in snapshot.parts), parts=len(snapshot.parts)
    )
    with _deadline(plugs.job, snapshot.abort):
        return run_all(
            snapshot.parts,
            lambda part: store_part(plugs, snapshot, backup_id, part),
            workers=workers,
            abort=snapshot.abort,
        )


def backup_name(started_at: datetime, run_id: str) -> str:
    """A name that sorts by time for people; order is always taken from the manifest."""
    return f"{started_at:%Y%m%dT%H%M%SZ}-{run_id[:8]}"


@contextmanager
def _deadline(job: JobSpec, abort: Callable[[], None]) -> Iterator[None]:
    """End the reads when the job's time is up, and say that this was the cause."""
    if job.timeout is None:
        yield
        return
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        abort()

    timer = threading.Timer(job.timeout.total_seconds(), expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    except HoldfastError as error:
        if expired.is_set() and not isinstance(error, Interrupted):
            raise _too_long(job.name, job.timeout) from error
        raise
    finally:
        timer.cancel()
        timer.join()
    if expired.is_set():
        raise _too_long(job.name, job.timeout)


def _too_long(job: str, timeout: timedelta) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"cannot back up job '{job}': it took longer than {timeout}",
        hint="raise the job's timeout, or give it more processes",
    )


@contextmanager
def _recorded(
    plugs: Plugs, run_id: str, started_at: datetime
) -> Iterator[Callable[[Manifest], None]]:
    """Write how the run ended, however it ends, into the ledger."""
    taken: list[Manifest] = []

    def record(outcome: str, error: BaseException | None = None) -> None:
        known = error if isinstance(error, HoldfastError) else None
        plugs.ledger.record(
            RunRecord(
                job=plugs.job.name,
                run_id=run_id,
                outcome=outcome,
                started_at=started_at,
                finished_at=plugs.clock(),
                backup=taken[0].backup_id if taken else "",
                error=str(error) if error else "",
                hint=known.hint if known else "",
                exit_code=(known.exit_code if known else 1) if error else 0,
            )
        )

    try:
        yield taken.append
    except BaseException as error:
        # A ledger that cannot be written must not hide what went wrong before.
        with suppress(HoldfastError):
            record("skipped" if isinstance(error, RunInFlight) else "failed", error)
        raise
    record("ok")
