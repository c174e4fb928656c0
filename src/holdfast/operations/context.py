"""What an operation works with; `wiring` builds it from the settings."""

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
class JobSpec:
    """One job as the operations see it.

    `timeout` is for each database, `stall_timeout` since its last byte. `attempts` counts tries
    of what may be tried again. With `overlap_alarm` runs skipped in a row the last of them is an
    alarm. `notes` say what was lowered from what was asked for. Parts are sealed for the
    `recipients`, or not at all where there is none. `cluster` is the system identifier that its
    server must have, where somebody has said so.
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
    overlap_alarm: int = 3
    blob_grace: timedelta = timedelta(0)
    recipients: tuple[str, ...] = ()
    cluster: str = ""

    @property
    def encryption(self) -> Encryption:
        return "age" if self.recipients else "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyContext:
    """What a copy from one repository to another touches; `at_once` small objects at a time.

    `source` and `target` hand on what is stored as it is, `believed` is the source with its
    manifests proven where they are signed. `require_believed` raises `ManifestUntrusted` for a
    manifest, by key and content, that readers of the target would not believe.
    """

    source: Repository
    target: Repository
    believed: Repository
    guard: Guard
    at_once: int
    require_believed: Callable[[str, bytes], object] = lambda _key, _content: None
    leftovers: Leftovers = field(default_factory=Leftovers)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """One repository of several that get the same; `guard` holds the job there, and only there."""

    name: str
    repository: Repository
    guard: Guard
    leftovers: Leftovers = field(default_factory=Leftovers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything that a run of one job touches.

    `blob_secret` is what this host names sealed blobs with: the same at every run. The `mirrors`
    are all repositories of a job that has several, its own first; `host_guard` is then this host's
    half of `guard`. `sessions` is who holds those of the job beyond its runs, where somebody does.
    """

    job: JobSpec
    source: Source
    repository: Repository
    guard: Guard
    ledger: RunHistory
    progress: Progress
    clock: Clock
    host: str
    choose_workers: Callable[[Source], Budget]
    new_run_id: Callable[[], str]
    peak_memory_bytes: Callable[[], int]
    cpu_seconds: Callable[[], float]
    journal: Journal
    lists: FileLists
    proofs: VerificationLog
    gauges: Gauges
    pace: Callable[[Source], Throttle]
    blob_secret: Callable[[], bytes]
    mirrors: tuple[Mirror, ...] = ()
    host_guard: Guard | None = None
    sessions: Holder | None = None
    room: Callable[[int], AdaptiveLimit] = AdaptiveLimit
    refused_tasks: Callable[[], int] = lambda: 0
    leftovers: Leftovers = field(default_factory=Leftovers)
