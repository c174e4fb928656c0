"""One backup under way: what it works with, and what becomes of it should it fail."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.manifest import Failure
from holdfast.limits.throttle import Throttle
from holdfast.model.backup import Part, PartPlan
from holdfast.model.errors import HoldfastError, RepositoryFull
from holdfast.operations.backup.resume import unfinished
from holdfast.operations.backup.watchdog import Watchdog
from holdfast.operations.context import Context
from holdfast.operations.parts.write import key_of
from holdfast.operations.retry import Retries
from holdfast.ports.host_state import Unfinished
from holdfast.ports.run import Hold
from holdfast.ports.source import Snapshot, Source
from holdfast.runtime import events
from holdfast.runtime.cleanup import noted_on


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupChoice:
    """What the operator asked for: go on with what an earlier run left, even at another moment."""

    resume: bool = False
    allow_mixed: bool = False


@dataclass
class Attempt:
    """One backup under way, and what is known of it should it fail."""

    context: Context
    source: Source
    choice: BackupChoice
    run_id: str
    name: str
    started_at: datetime
    earlier: Unfinished | None
    pace: Throttle
    hold: Hold
    recoveries: Retries
    watch: Watchdog
    refused_before: int
    failed_at: PartPlan | None = None
    stored: list[Part] = field(default_factory=list)
    snapshot: Snapshot | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def backup_id(self) -> str:
        return f"{self.context.job.name}/{self.name}"

    def key_of(self, plan: PartPlan) -> str:
        return key_of(self.context.job, self.backup_id, plan)

    def let_go(self, *, finished: bool) -> None:
        """Nobody will come back to the snapshot, wherever it is held."""
        if self.snapshot is not None:
            self.snapshot.let_go(finished=finished)

    def advance(self, size_bytes: int) -> None:
        """Bytes came from the server: told to whoever watches, and held back where asked."""
        self.watch.beat()
        self.context.progress.advance(size_bytes)
        self.pace.spend(size_bytes)


def backup_name(started_at: datetime, name_id: str) -> str:
    """A name that sorts by time for people; order is always taken from the manifest."""
    return f"{started_at:%Y%m%dT%H%M%SZ}-{name_id[:8]}"


def begun(
    context: Context, source: Source, choice: BackupChoice, *, run_id: str, name_id: str, hold: Hold
) -> Attempt:
    started_at = context.clock()
    earlier = unfinished(context, source) if choice.resume else None
    if choice.resume and earlier is None:
        events.info("nothing_to_resume", job=context.job.name, database=source.database)
    pace = context.pace(source)
    return Attempt(
        context=context,
        source=source,
        choice=choice,
        run_id=earlier.run_id if earlier else run_id,
        name=earlier.name if earlier else backup_name(started_at, name_id),
        started_at=earlier.started_at if earlier else started_at,
        earlier=earlier,
        pace=pace,
        hold=hold,
        recoveries=Retries(context.job.attempts),
        watch=Watchdog(context.job, pace, hold),
        refused_before=context.refused_tasks(),
    )


def give_up(taking: Attempt, catalog: Catalog, error: BaseException) -> None:
    """Remove or keep the parts, and leave word; never hides `error`."""
    context, database = taking.context, taking.source.database
    keep = context.job.resumable and bool(taking.stored) and not isinstance(error, RepositoryFull)
    if taking.earlier is not None and not taking.stored:
        # A resume that was refused must not cost what it could not use.
        keep = True
    with noted_on(error):
        if not keep:
            taking.let_go(finished=False)
    with noted_on(error):
        if not keep:
            catalog.discard_parts(taking.backup_id)
            context.journal.end(context.job.name, database)
    with noted_on(error):
        catalog.record(_failure(taking, error, parts_kept=len(taking.stored) if keep else 0))


def _failure(taking: Attempt, error: BaseException, *, parts_kept: int) -> Failure:
    known = error if isinstance(error, HoldfastError) else None
    at = taking.failed_at
    return Failure(
        job=taking.context.job.name,
        name=taking.name,
        run_id=taking.run_id,
        host=taking.context.host,
        engine=taking.source.engine,
        database=taking.source.database,
        started_at=taking.started_at,
        failed_at=taking.context.clock(),
        error=str(error) or type(error).__name__,
        hint=known.hint if known else "",
        exit_code=known.exit_code if known else 1,
        part=at.name if at else "",
        relation=str(at.relation) if at and at.relation else "",
        parts_kept=parts_kept,
    )
