"""Clean up after failed runs: keep what can be resumed, remove the rest, report damage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING

from holdfast.catalog.catalog import Catalog, Survey
from holdfast.catalog.host_statuses import HostStatuses
from holdfast.catalog.places import (
    BLOBS,
    MARK,
    failure_key,
    manifest_key,
    mark_key,
    place_of,
    record_at,
)
from holdfast.model.errors import VerifyFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.operations.backup.earlier import end_left, left_sessions
from holdfast.operations.prune import PruneContext, unreferenced

if TYPE_CHECKING:
    from holdfast.ports.host_state import Journal
    from holdfast.ports.repository import Stored
    from holdfast.ports.sessions import Holder


class Fate(StrEnum):
    """What repair does with a leftover."""

    KEPT = "kept"
    REMOVED = "removed"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairContext(PruneContext):
    """The dependencies of a prune, plus the journal of unfinished backups and held sessions."""

    journal: Journal
    sessions: Holder | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Objects or sessions that belong to no good backup, or damage of a backup."""

    what: str
    objects: int
    size_bytes: int
    fate: Fate
    because: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """The leftovers of one job and their fates; `unfinished_puts` is a count of removed ones."""

    job: str
    leftovers: tuple[Leftover, ...]
    unfinished_puts: int
    dry_run: bool

    @property
    def freed_bytes(self) -> int:
        return sum(each.size_bytes for each in self.leftovers if each.fate is Fate.REMOVED)

    @property
    def exit_code(self) -> int:
        damaged = any(each.fate is Fate.DAMAGED for each in self.leftovers)
        return VerifyFailed.exit_code if damaged else 0


def repair(context: RepairContext, *, dry_run: bool) -> RepairReport:
    """Remove what no backup needs and no run can resume; `dry_run` only reports it.

    Good backups are never touched. Missing parts of a backup cannot be repaired, and are reported.
    Raises `RunInFlight` while a run of the job is in progress.
    """
    if dry_run:
        return _report(context, _sorted(context), unfinished_puts=0, dry_run=True)
    with context.guard.hold(context.job.name, deadline=None) as hold:
        leftovers = _sorted(context)
        hold.prove()
        end_left(context.sessions, _dead_sessions(context))
        for leftover in leftovers:
            for key in leftover.keys if leftover.fate is Fate.REMOVED else ():
                context.repository.delete(key)
        unfinished_puts = context.repository.sweep(context.job.name)
        unfinished_puts += HostStatuses(context.repository).sweep(context.job.name)
    return _report(context, leftovers, unfinished_puts=unfinished_puts, dry_run=False)


def _report(
    context: RepairContext, leftovers: list[Leftover], *, unfinished_puts: int, dry_run: bool
) -> RepairReport:
    return RepairReport(
        job=context.job.name,
        leftovers=tuple(leftovers),
        unfinished_puts=unfinished_puts,
        dry_run=dry_run,
    )


def _sorted(context: RepairContext) -> list[Leftover]:
    job = context.job.name
    survey = Catalog(context.repository).survey(job)
    stored: defaultdict[str, list[Stored]] = defaultdict(list)
    foreign: list[Stored] = []
    for each in context.repository.list(job):
        place = place_of(each.key)
        if place is not None:
            stored[place.backup_id].append(each)
        elif not each.key.startswith(f"{job}/{BLOBS}/"):
            foreign.append(each)
    found = [
        *_of_backups(survey, stored),
        *_of_unfinished(context, survey, stored),
        *_of_blobs(context, survey),
        *_of_others(foreign),
        *_of_sessions(context),
    ]
    return sorted(found, key=lambda each: each.what)


def _of_backups(survey: Survey, stored: dict[str, list[Stored]]) -> Iterator[Leftover]:
    for manifest in survey.manifests:
        there = stored[manifest.backup_id]
        parts = {part.key for part in manifest.parts}
        known = {manifest_key(manifest.backup_id), *parts}
        strays = [each for each in there if each.key not in known]
        if strays:
            yield _removed(manifest.backup_id, strays, "its manifest does not list them")
        lost = parts - {each.key for each in there}
        if lost:
            yield _damaged(manifest.backup_id, f"{len(lost)} parts are missing")
    for damaged in survey.damaged:
        yield _damaged(damaged.backup_id, damaged.problem)


def _of_unfinished(
    context: RepairContext, survey: Survey, stored: dict[str, list[Stored]]
) -> Iterator[Leftover]:
    known = {each.backup_id for each in survey.manifests + survey.damaged}
    catalog = Catalog(context.repository)
    resumable = {each.backup_id for each in context.journal.unfinished(context.job.name)}
    for backup_id, objects in stored.items():
        parts = [each for each in objects if each.key != failure_key(backup_id)]
        if backup_id in known or not parts:
            continue
        is_marked = any(each.key == mark_key(backup_id) for each in objects)
        if is_marked and catalog.is_marked(backup_id):
            yield _removed(backup_id, objects, "an interrupted prune had begun to remove it")
        elif backup_id in resumable and context.job.rules.resumable:
            because = f"it can be resumed: holdfast backup {context.job.name} --resume"
            yield _leftover(backup_id, parts, fate=Fate.KEPT, because=because)
        else:
            yield _removed(backup_id, parts, "its run ended without a backup")


def _of_sessions(context: RepairContext) -> Iterator[Leftover]:
    for session_id in _dead_sessions(context):
        yield _removed(f"session {session_id}", [], "the run that opened it ended without a backup")


def _dead_sessions(context: RepairContext) -> list[str]:
    """The held sessions of runs that cannot be resumed."""
    is_resumable = context.job.rules.resumable
    unfinished = context.journal.unfinished(context.job.name) if is_resumable else []
    return left_sessions(context.sessions, spare=[each.snapshot for each in unfinished])


def _of_others(foreign: list[Stored]) -> Iterator[Leftover]:
    for each in foreign:
        yield _leftover(each.key, [each], fate=Fate.KEPT, because="holdfast did not create it")


def _of_blobs(context: RepairContext, survey: Survey) -> Iterator[Leftover]:
    blobs = unreferenced(context, survey)
    if blobs:
        yield _removed(f"{context.job.name}/{BLOBS}", blobs, "no backup refers to them")


def _removed(what: str, objects: list[Stored], because: str) -> Leftover:
    return _leftover(what, objects, fate=Fate.REMOVED, because=because)


def _damaged(what: str, because: str) -> Leftover:
    return _leftover(what, [], fate=Fate.DAMAGED, because=because)


def _leftover(what: str, objects: list[Stored], *, fate: Fate, because: str) -> Leftover:
    return Leftover(
        what=what,
        objects=len(objects),
        size_bytes=sum(each.size_bytes for each in objects),
        fate=fate,
        because=because,
        keys=tuple(sorted((each.key for each in objects), key=lambda key: record_at(key) == MARK)),
    )
