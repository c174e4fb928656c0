"""What an operation works with; `wiring` builds it from the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from holdfast.model import Codec
from holdfast.ports import Clock, Guard, Ledger, Progress, Repository, Source
from holdfast.retention import Policy
from holdfast.scheduling.budget import Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One job as the operations see it."""

    name: str
    codec: Codec
    level: int
    timeout: timedelta | None
    retention: Policy


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
    choose_workers: Callable[[], Budget]
    new_run_id: Callable[[], str]
    peak_memory_bytes: Callable[[], int]
