"""The dependencies of a run of a job; `wiring` builds them from the settings.

A context that only one verb needs is defined beside that verb, as `PruneContext` in `prune`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.model.fingerprints import FAST, Algorithms
from holdfast.model.lazy_dataclass import dataclass, field
from holdfast.model.retention import Policy
from holdfast.operations.append_only import Leftovers
from holdfast.runtime.worker_pool import AdaptiveLimit

if TYPE_CHECKING:
    from holdfast.limits.budget import Budget
    from holdfast.limits.throttle import Throttle
    from holdfast.model.backup import Codec, Encryption
    from holdfast.model.suspicion import Sized, Suspicion
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


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredForm:
    """How the parts of a job are stored; they are sealed if there are `recipients`.

    Blobs are held in `blob_memory_bytes`, of all workers together, while they are named.
    """

    codec: Codec
    level: int
    recipients: tuple[str, ...] = ()
    fingerprints: Algorithms = FAST
    blob_memory_bytes: int = 0

    @property
    def encryption(self) -> Encryption:
        return "age" if self.recipients else "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRules:
    """How long a run may take, and what happens when it fails or is skipped.

    `timeout` limits the backup of each database, `stall_timeout` the time since its last byte.
    `attempts` is the number of tries for an operation that may be repeated. After `overlap_alarm`
    skipped runs in a row, the last one raises an alarm. `suspicion` says which good backups are
    reported.
    """

    timeout: timedelta | None = None
    stall_timeout: timedelta | None = None
    attempts: int = 1
    resumable: bool = False
    overlap_alarm: int = 3
    suspicion: Suspicion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A program of the operator, with its arguments, that may run for at most `timeout`."""

    argv: tuple[str, ...]
    timeout: timedelta

    @property
    def told(self) -> str:
        return " ".join(self.argv)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The programs that run before each run of a job, after a good one, and after a failed one."""

    before: tuple[Hook, ...] = ()
    after: tuple[Hook, ...] = ()
    failed: tuple[Hook, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One job as the operations see it.

    `notes` name the settings that were lowered. `cluster` is the system identifier that the
    server must have, empty if none is configured.
    """

    name: str
    form: StoredForm
    rules: RunRules = field(default_factory=RunRules)
    retention: Policy = field(default_factory=Policy)
    blob_grace: timedelta = timedelta(0)
    notes: tuple[str, ...] = ()
    cluster: str = ""
    hooks: Hooks = field(default_factory=Hooks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """One of several repositories that receive the same bytes; `guard` locks the job in it only."""

    name: str
    repository: Repository
    guard: Guard
    leftovers: Leftovers = field(default_factory=Leftovers)


def nobody() -> None:
    """Nobody is told that the run has begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """How a run locks its job, and in which repositories.

    If a job has several repositories, `mirrors` lists all of them, the job's own first, and
    `host_guard` is the part of `guard` that locks the job on this host. `begun` is called once the
    job is locked; it never raises.
    """

    new_run_id: Callable[[], str]
    guard: Guard
    leftovers: Leftovers = field(default_factory=Leftovers)
    host_guard: Guard | None = None
    mirrors: tuple[Mirror, ...] = ()
    begun: Callable[[], None] = nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """What this host remembers of the runs of a job.

    `blob_secret` returns the key for the names of sealed blobs; it is the same in every run.
    `known_backups` returns the job's good backups, newest first.
    """

    history: RunHistory
    journal: Journal
    file_lists: FileLists
    verification_log: VerificationLog
    gauges: Gauges
    blob_secret: Callable[[], bytes]
    known_backups: Callable[[], Sequence[Sized]] = tuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """This host: its clock, the resources that a run has used so far, and its limits."""

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
    """The dependencies of a backup of a job.

    `sessions` keeps sessions of the job open beyond its runs; None if nothing does.
    """

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
    """The dependencies of archiving the WAL of a job.

    `repositories` holds the job's own first, then its mirrors. `clusters` are those that this
    host has already confirmed as the job's.
    """

    job: JobSpec
    repositories: tuple[Repository, ...]
    host: str
    clock: Clock
    new_token: Callable[[], str]
    clusters: KnownClusters = field(default_factory=set[str])
