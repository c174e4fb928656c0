"""The drills of one job: which backups, in which order, within a budget, one drill at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.drill_records import DrillRecords
from holdfast.model.drill import DrillRecord, least_recently_drilled
from holdfast.model.errors import BackupNotFound, CheckRefused, RunInFlight
from holdfast.model.lazy_dataclass import dataclass
from holdfast.operations.drill.database import (
    DrillContext,
    Drilled,
    DrillRequest,
    drill_backup,
)
from holdfast.runtime import events

if TYPE_CHECKING:
    from holdfast.model.backup import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillReport:
    """The drills of one call; `left` are databases for which the budget was too short."""

    job: str
    drilled: tuple[Drilled, ...]
    left: tuple[str, ...] = ()
    swept: int = 0

    @property
    def exit_code(self) -> int:
        return next((each.exit_code for each in self.drilled if each.exit_code), 0)


def drill(
    context: DrillContext,
    request: DrillRequest,
    *,
    begun: Callable[[], None] = lambda: None,
    seconds: Callable[[], float] = time.monotonic,
) -> DrillReport:
    """Drill the requested backup, or one of each database: least recently drilled ones first.

    `begun` is called once the job's drill lock is held.

    A second database begins only if the remaining budget covers its last drill. Raises
    `RunInFlight` while another drill of the job runs on this host, `BackupNotFound`, and
    `CheckRefused` for a check that cannot be a SELECT.
    """
    _require_selects(request)
    ends = seconds() + request.budget.total_seconds()
    with _held(context):
        begun()
        events.reached("drill-locked")
        swept = context.host.rooms.sweep()
        events.reached("drill-swept")
        records = DrillRecords(context.reader.repository, context.job).all().records
        waiting = _chosen(context, request, records)
        drilled: list[Drilled] = []
        while waiting:
            if drilled and seconds() + _last_seconds(waiting[0], records) > ends:
                break
            drilled.append(drill_backup(context, request, waiting.pop(0), ends=ends))
    return DrillReport(
        job=context.job,
        drilled=tuple(drilled),
        left=tuple(each.server.database for each in waiting),
        swept=swept,
    )


@contextmanager
def _held(context: DrillContext) -> Iterator[None]:
    """Hold the drill lock of the job; a refusal speaks of drills."""
    with ExitStack() as held:
        try:
            held.enter_context(context.guard.hold(context.job, deadline=None))
        except RunInFlight as error:
            cause = error.message.partition(": ")[2]
            raise RunInFlight(
                f"cannot drill job '{context.job}': {cause}",
                hint="a drill of the job is under way; this one was skipped",
            ) from error
        yield


def _require_selects(request: DrillRequest) -> None:
    for check in request.checks:
        if not check.may_be_select:
            raise CheckRefused(
                f"cannot run {check.title}: it is no SELECT",
                hint="a check is one SELECT (or WITH, VALUES, TABLE) that changes nothing",
            )


def _chosen(
    context: DrillContext, request: DrillRequest, records: Sequence[DrillRecord]
) -> list[Manifest]:
    """The backups to drill, in this order; raises `BackupNotFound`."""
    catalog = Catalog(context.reader.repository)
    if not request.names_no_backup:
        return [catalog.find(request.backup_id)]
    newest: dict[str, Manifest] = {}
    for manifest in catalog.survey(context.job).manifests:
        is_in_time = request.not_after is None or manifest.snapshot_at <= request.not_after
        if is_in_time and request.database in ("", manifest.server.database):
            newest.setdefault(manifest.server.database, manifest)
    if not newest:
        which = f" of database '{request.database}'" if request.database else ""
        when = f" taken by {request.not_after:%Y-%m-%d %H:%M:%SZ}" if request.not_after else ""
        raise BackupNotFound(
            f"cannot drill job '{context.job}': it has no finished backup{which}{when}",
            hint=f"make one: holdfast backup {context.job}",
        )
    return [newest[name] for name in least_recently_drilled(list(newest), records)]


def _last_seconds(manifest: Manifest, records: Sequence[DrillRecord]) -> float:
    """How long the last drill of the database took; 0 if there was none."""
    last = next((each for each in records if each.database == manifest.server.database), None)
    return (last.ended - last.began if last else timedelta(0)).total_seconds()
