"""Build limits from the settings: how many workers a run may have, and how fast it may read.

Each function imports what it needs: a job without large objects, as one of WAL, needs nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast.config.sources import PostgresSettings
from holdfast.runtime import events

if TYPE_CHECKING:
    from holdfast.config.settings import JobSettings, Settings
    from holdfast.limits.budget import Budget, MemoryBudget
    from holdfast.limits.throttle import Throttle
    from holdfast.ports.source import Source
    from holdfast.runtime.worker_pool import AdaptiveLimit


def workers(job: JobSettings, source: Source) -> Budget:
    from holdfast.limits.budget import live_limits, process_budget, tasks_beside

    return _announced(
        process_budget(
            live_limits(),
            asked=job.max_concurrent_processes,
            connections_free=source.connections_free(),
            memory=_memory(job),
            tasks_per_slot=tasks_beside(job.compression.program),
        )
    )


def adaptive_limit(job: JobSettings, slots: int) -> AdaptiveLimit:
    from holdfast.limits.budget import live_limits, slots_now, tasks_beside
    from holdfast.runtime.worker_pool import AdaptiveLimit

    tasks_per_slot = tasks_beside(job.compression.program)

    def look(working: int, threads: int) -> int:
        return slots_now(
            live_limits(), working=working, threads=threads, tasks_per_slot=tasks_per_slot
        )

    return AdaptiveLimit(slots, look=look)


def throttle(job: JobSettings, source: Source) -> Throttle:
    from holdfast.limits.throttle import Throttle, ThrottleLimit

    limits: list[ThrottleLimit] = []
    if job.pause_above_load is not None:
        limits.append(
            ThrottleLimit(name="load", most=job.pause_above_load, look=lambda: os.getloadavg()[0])
        )
    if job.pause_above_lag is not None:
        most = job.pause_above_lag.total_seconds()
        limits.append(ThrottleLimit(name="replication lag", most=most, look=source.lag_seconds))
    return Throttle(bytes_per_second=job.max_rate, limits=limits)


def reading_budget(settings: Settings, job: str) -> Budget:
    """The worker slots for reading a backup of `job` back; no server limits the sessions."""
    from holdfast.limits.budget import live_limits, process_budget

    configured = settings.jobs.get(job)
    asked = configured.max_concurrent_processes if configured else None
    return _announced(process_budget(live_limits(), asked=asked, connections_free=None))


def _announced(budget: Budget) -> Budget:
    events.info(
        budget.headline,
        decided_by=budget.decided_by,
        allowed=budget.allowed,
        tasks={each.name: f"{each.used} of {each.most}" for each in budget.ceilings},
    )
    return budget


def _memory(job: JobSettings) -> MemoryBudget | None:
    if job.memory_limit_mb is None:
        return None
    from holdfast.limits.budget import MemoryBudget
    from holdfast.pipeline.compression import context_bytes

    level = job.compression.effective_level
    return MemoryBudget(
        limit_bytes=job.memory_limit_mb << 20,
        compressor_bytes=context_bytes(job.compression.codec, level),
        has_blobs=_has_blobs(job),
    )


def blob_memory_bytes(job: JobSettings) -> int:
    """The memory that holds large objects while they are named, of all workers together."""
    memory = _memory(job)
    if memory is not None:
        return memory.blob_bytes
    if not _has_blobs(job):
        return 0
    from holdfast.limits.budget import BLOB_BYTES

    return BLOB_BYTES


def _has_blobs(job: JobSettings) -> bool:
    source = job.source
    is_ours = isinstance(source, PostgresSettings) and source.engine == "native"
    return is_ours and source.method == "logical"
