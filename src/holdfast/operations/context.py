"""What a run of a job works with; `wiring` builds it from the settings.

What only one verb needs stands with that verb: `PruneContext` in `prune`, and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from holdfast.limits.budget import Budget
from holdfast.limits.throttle import Throttle
from holdfast.model.backup import Codec, Encryption
from holdfast.model.retention import Policy
from holdfast.operations.append_only import Leftovers
from holdfast.ports.host_state import (
    FileLists,
    Gauges,
    Journal,
    KnownClusters,
    RunHistory,
    VerificationLog,
)
from holdfast.ports.repository import Repository
from holdfast.ports.run import Clock, Guard, Progress
from holdfast.ports.sessions import Holder
from holdfast.ports.source import Source
from holdfast.runtime.worker_pool import AdaptiveLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredForm:
    """How the parts of a job are stored; sealed for the `recipients`, where there are any."""

    codec: Codec
    level: int
    recipients: tuple[str, ...] = ()

    @property
    def encryption(self) -> Encryption:
        return "age" if self.recipients else "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRules:
    """How long a run may take, and what happens where it fails or is skipped.

    `timeout` is for each database, `stall_timeout` since its last byte. `attempts` counts tries
    of what may be tried again. With `overlap_alarm` runs skipped in a row the last of them is an
    alarm.
    """

    timeout: timedelta | None = None
    stall_timeout: timedelta | None = None
    attempts: int = 1
    resumable: bool = False
    overlap_alarm: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One job as the operations see it.

    `notes` say what was lowered from what was asked for. `cluster` is the system identifier that
    its server must have, where somebody has said so.
    """

    name: str
    form: StoredForm
    rules: RunRules = field(default_factory=RunRules)
    retention: Policy = field(default_factory=Policy)
    blob_grace: timedelta = timedelta(0)
    notes: tuple[str, ...] = ()
    cluster: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """One repository of several that get the same; `guard` holds the job there, and only there."""

    name: str
    repository: Repository
    guard: Guard
    leftovers: Leftovers = field(default_factory=Leftovers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """How a run comes to own its job, and where.

    The `mirrors` are all repositories of a job that has several, its own first; `host_guard` is
    then this host's half of `guard`.
    """

    new_run_id: Callable[[], str]
    guard: Guard
    leftovers: Leftovers = field(default_factory=Leftovers)
    host_guard: Guard | None = None
    mirrors: tuple[Mirror, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """What this host remembers of the runs of a job.

    `blob_secret` is what it names sealed blobs with: the same at every run.
    """

    history: RunHistory
    journal: Journal
    file_lists: FileLists
    verification_log: VerificationLog
    gauges: Gauges
    blob_secret: Callable[[], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """This host: its time, what a run has cost it so far, and what it can bear."""

    name: str
    clock: Clock
    peak_memory_bytes: Callable[[], int]
    cpu_seconds: Callable[[], float]
    choose_workers: Callable[[Source], Budget]
    throttle: Callable[[Source], Throttle]
    limit_workers: Callable[[int], AdaptiveLimit] = AdaptiveLimit
    refused_tasks: Callable[[], int] = lambda: 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupContext:
    """Everything that a backup of a job touches; `sessions` is who holds those of the job beyond
    its runs, where somebody does."""

    job: JobSpec
    source: Source
    sessions: Holder | None
    repository: Repository
    ownership: Ownership
    state: HostState
    host: Host
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveContext:
    """What archiving the WAL of a job touches: its repository first, then its mirrors.

    `clusters` are those that this host has found to be the job's.
    """

    job: JobSpec
    repositories: tuple[Repository, ...]
    host: str
    clock: Clock
    new_token: Callable[[], str]
    clusters: KnownClusters = field(default_factory=set[str])
