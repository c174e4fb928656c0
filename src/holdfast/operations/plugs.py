"""What an operation works with; `wiring` builds it from the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from holdfast.model import Codec
from holdfast.ports import Clock, Gauges, Guard, Journal, Ledger, Progress, Repository, Source
from holdfast.retention import Policy
from holdfast.scheduling.budget import Budget
from holdfast.scheduling.pace import Pace
from holdfast.scheduling.room import Room


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One job as the operations see it.

    `timeout` is for each database, `stall_timeout` since its last byte. `attempts` counts tries
    of what may be tried again. `notes` say what was lowered from what was asked for.
    """

    name: str
    codec: Codec
    level: int
    timeout: timedelta | None
    retention: Policy
    stall_timeout: timedelta | None = None
    attempts: int = 1
    resumable: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugs:
    """Everything that a run of one job touches."""

    job: JobSpec
    source: Source
    repository: Repository
    guard: Guard
    ledger: Ledger
    progress: Progress
    clock: Clock
    host: str
    choose_workers: Callable[[Source], Budget]
    new_run_id: Callable[[], str]
    peak_memory_bytes: Callable[[], int]
    cpu_seconds: Callable[[], float]
    journal: Journal
    gauges: Gauges
    pace: Callable[[Source], Pace]
    room: Callable[[int], Room] = Room
    refused_tasks: Callable[[], int] = lambda: 0
