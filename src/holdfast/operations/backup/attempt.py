"""One backup in progress: its state, the watchdog that ends it, and the cleanup of a failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from holdfast.catalog.manifest import Failure
from holdfast.model.errors import (
    DeadlineExceeded,
    HoldfastError,
    LeaseLost,
    Reported,
    RepositoryFull,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.operations.backup.earlier import unfinished
from holdfast.operations.parts.write import key_of
from holdfast.operations.retry import Retries
from holdfast.runtime import events
from holdfast.runtime.cleanup import Ended, endable, noted_on, periodically

if TYPE_CHECKING:
    from holdfast.catalog.catalog import Catalog
    from holdfast.limits.throttle import Throttle
    from holdfast.model.backup import Part, PartPlan
    from holdfast.operations.context import BackupContext, JobSpec
    from holdfast.ports.host_state import Unfinished
    from holdfast.ports.run import Hold
    from holdfast.ports.source import Snapshot, Source

MOST_SECONDS_BETWEEN_LOOKS = 1.0
# Code that swallowed the first `Ended` and went on is interrupted again after this time.
SECONDS_BETWEEN_ENDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupChoice:
    """What the operator asked for: resume an earlier run, even with parts of another snapshot."""

    resume: bool = False
    allow_mixed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """How a backup began: as a new one, or with the name and the parts of an `earlier` one.

    `refused_tasks` is how many tasks the kernel had refused to this process's cgroups until then.
    """

    run_id: str
    name: str
    started_at: datetime
    refused_tasks: int
    earlier: Unfinished | None = None
    allow_mixed: bool = False


@dataclass(slots=True)
class Outcome:
    """The result of a backup so far; several workers add parts under `lock`."""

    snapshot: Snapshot | None = None
    stored: list[Part] = field(default_factory=list)
    failed_at: PartPlan | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, plan: PartPlan) -> None:
        """Remember `plan` as the part that stopped the backup; the first call wins."""
        with self.lock:
            self.failed_at = self.failed_at or plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One backup in progress, and what a record of its failure needs."""

    context: BackupContext
    source: Source
    hold: Hold
    beginning: Beginning
    throttle: Throttle
    watchdog: Watchdog
    recoveries: Retries
    outcome: Outcome = field(default_factory=Outcome)

    @property
    def backup_id(self) -> str:
        return f"{self.context.job.name}/{self.beginning.name}"

    def key_of(self, plan: PartPlan) -> str:
        return key_of(self.context.job.form, self.backup_id, plan)

    def release(self, *, finished: bool) -> None:
        """Release the snapshot, wherever it is held: nobody will use it again."""
        if self.outcome.snapshot is not None:
            self.outcome.snapshot.release(finished=finished)

    def advance(self, size_bytes: int) -> None:
        """Report bytes read from the server to the watchdog and to progress, then throttle."""
        self.watchdog.beat()
        self.context.progress.advance(size_bytes)
        self.throttle.spend(size_bytes)


def backup_name(started_at: datetime, name_id: str) -> str:
    """A name that sorts by time for people; the code takes the order from the manifest."""
    return f"{started_at:%Y%m%dT%H%M%SZ}-{name_id[:8]}"


def begun(
    context: BackupContext,
    source: Source,
    choice: BackupChoice,
    *,
    run_id: str,
    name_id: str,
    hold: Hold,
) -> Attempt:
    started_at = context.host.clock()
    earlier = unfinished(context, source) if choice.resume else None
    if choice.resume and earlier is None:
        events.info("nothing_to_resume", job=context.job.name, database=source.database)
    throttle = context.host.throttle(source)
    return Attempt(
        context=context,
        source=source,
        hold=hold,
        beginning=Beginning(
            run_id=earlier.run_id if earlier else run_id,
            name=earlier.name if earlier else backup_name(started_at, name_id),
            started_at=earlier.started_at if earlier else started_at,
            refused_tasks=context.host.refused_tasks(),
            earlier=earlier,
            allow_mixed=choice.allow_mixed,
        ),
        throttle=throttle,
        watchdog=Watchdog(context.job, throttle, hold),
        recoveries=Retries(context.job.rules.attempts),
    )


def give_up(attempt: Attempt, catalog: Catalog, error: BaseException) -> None:
    """Remove or keep the parts, and record the failure; never hides `error`."""
    context, database = attempt.context, attempt.source.database
    keep = (
        context.job.rules.resumable
        and bool(attempt.outcome.stored)
        and not isinstance(error, RepositoryFull)
    )
    if attempt.beginning.earlier is not None and not attempt.outcome.stored:
        # A resume that was refused must not destroy the parts that it did not use.
        keep = True
    with noted_on(error):
        if not keep:
            attempt.release(finished=False)
    with noted_on(error):
        if not keep:
            catalog.discard_parts(attempt.backup_id)
            context.state.journal.end(context.job.name, database)
    with noted_on(error):
        catalog.record(
            _failure(attempt, error, parts_kept=len(attempt.outcome.stored) if keep else 0)
        )


def _failure(attempt: Attempt, error: BaseException, *, parts_kept: int) -> Failure:
    known = error if isinstance(error, Reported) else None
    at = attempt.outcome.failed_at
    return Failure(
        job=attempt.context.job.name,
        name=attempt.beginning.name,
        run_id=attempt.beginning.run_id,
        host=attempt.context.host.name,
        engine=attempt.source.engine,
        database=attempt.source.database,
        started_at=attempt.beginning.started_at,
        failed_at=attempt.context.host.clock(),
        error=str(error) or type(error).__name__,
        hint=known.hint if known else "",
        exit_code=known.exit_code if known else 1,
        part=at.name if at else "",
        relation=str(at.relation) if at and at.relation else "",
        parts_kept=parts_kept,
    )


class Watchdog:
    """Ends a backup that takes too long, stalls, or no longer owns its job.

    The deadline and the loss of the job end both the opening of a snapshot and its reads. A stall
    ends the reads only. The deadline is counted from the creation of this object."""

    def __init__(self, job: JobSpec, throttle: Throttle, hold: Hold) -> None:
        self._job = job
        self._hold = hold
        self._throttle = throttle
        self._last_byte = time.monotonic()
        self._expired = ""
        self._ends = _after(job.rules.timeout)

    def beat(self) -> None:
        """Note that bytes have arrived."""
        self._last_byte = time.monotonic()

    @contextmanager
    def over(self, abort: Callable[[], None]) -> Iterator[None]:
        """Call `abort` once the watchdog expires.

        Raises `LeaseLost` or `DeadlineExceeded` then.
        """
        self.beat()

        def look() -> bool:
            self._expired = self._lost_or_late() or self._stalled()
            if self._expired:
                abort()
            return bool(self._expired)

        with periodically(look, pause=self._pause, name="watch"):
            try:
                yield
            except HoldfastError as error:
                if self._expired:
                    raise self._error() from error
                raise
        if self._expired:
            raise self._error()

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Watch a block that waits for its server in the main thread, before any byte is due.

        Raises `LeaseLost` or `DeadlineExceeded` once the watchdog expires.
        """
        ended_at = 0.0
        with endable() as end:

            def look() -> None:
                nonlocal ended_at
                self._expired = self._expired or self._lost_or_late()
                if self._expired and time.monotonic() - ended_at >= SECONDS_BETWEEN_ENDS:
                    ended_at = time.monotonic()
                    end()

            with periodically(look, pause=self._pause_before_bytes, name="watch-opening"):
                try:
                    yield
                except Ended as error:
                    raise self._not_opened(error) from error
                except Exception as error:
                    if self._expired:
                        raise self._not_opened(error) from error
                    raise
        if self._expired:
            raise self._not_opened(None)

    def _pause_before_bytes(self) -> float:
        left = MOST_SECONDS_BETWEEN_LOOKS
        if self._ends is not None and not self._expired:
            left = min(left, self._ends - time.monotonic())
        return max(0.01, left)

    def _pause(self) -> float:
        now = time.monotonic()
        limits = [MOST_SECONDS_BETWEEN_LOOKS]
        if self._ends is not None:
            limits.append(self._ends - now)
        if self._job.rules.stall_timeout is not None:
            limits.append(self._last_byte + self._job.rules.stall_timeout.total_seconds() - now)
        return max(0.01, min(limits))

    def _lost_or_late(self) -> str:
        if self._hold.lost:
            return self._hold.lost
        if self._ends is not None and time.monotonic() >= self._ends:
            return f"it took longer than {self._job.rules.timeout}"
        return ""

    def _stalled(self) -> str:
        now = time.monotonic()
        if self._throttle.is_paused:
            # A pause of the throttle is no stall.
            self.beat()
        stall = self._job.rules.stall_timeout
        if stall is not None and now - self._last_byte >= stall.total_seconds():
            return f"no data arrived for {stall}"
        return ""

    def _not_opened(self, error: BaseException | None) -> HoldfastError:
        """The error of an opening that was ended; it names what the source was waiting for."""
        if self._hold.lost:
            return self._error()
        doing = error.doing if isinstance(error, Ended) else ""
        return DeadlineExceeded(
            f"cannot back up job '{self._job.name}': {self._expired}, and the snapshot was not"
            f" taken yet{f': {doing}' if doing else ''}",
            hint="look for locks and long waits on the server (holdfast plan names the"
            " blocking sessions), or raise the job's timeout",
        )

    def _error(self) -> HoldfastError:
        if self._hold.lost:
            return LeaseLost(
                f"cannot back up job '{self._job.name}': {self._expired}",
                hint="if another host has taken over the job, its run makes the backup; if not,"
                " the next run does",
            )
        stalled = self._expired.startswith("no data")
        return DeadlineExceeded(
            f"cannot back up job '{self._job.name}': {self._expired}",
            hint="look for locks and long waits on the server, or raise the job's stall_timeout"
            if stalled
            else "raise the job's timeout, or give it more processes",
        )


def _after(span: timedelta | None) -> float | None:
    return None if span is None else time.monotonic() + span.total_seconds()
