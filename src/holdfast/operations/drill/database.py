"""One drill: restore a backup into a throw-away server, prove what it holds, record the result."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from holdfast.catalog.catalog import LATEST
from holdfast.catalog.drill_records import DrillRecords
from holdfast.model.drill import (
    Check,
    DrillFinding,
    DrillRecord,
    DrillSeconds,
    Goals,
    Outcome,
    ProofRow,
    compared,
    fitting,
    storable,
)
from holdfast.model.errors import (
    CheckRefused,
    DrillFailed,
    HoldfastError,
    RestoreFailed,
    TargetOutOfReach,
    VerifyFailed,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.operations.drill.measured import (
    DrillWatch,
    MeasuredProgress,
    MeasuredRepository,
    restore_seconds,
)
from holdfast.operations.parts.proof import RepositoryParts
from holdfast.operations.parts.read import proven, require_identity
from holdfast.operations.restore.backup import restore
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.kernel import disk_error

if TYPE_CHECKING:
    from holdfast.model.backup import Manifest
    from holdfast.model.restore import RestoredTable
    from holdfast.operations.drill.rooms import Rooms
    from holdfast.operations.verify.backup import BackupReader
    from holdfast.ports.drill import DrillRoom, DrillServer, OpenServer
    from holdfast.ports.host_state import Gauges
    from holdfast.ports.run import Guard

# The rows of a record: enough for an auditor, too few to make it unreadable.
MOST_TABLE_ROWS = 1000
CHECK_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillHost:
    """The host of a drill, and the `version` of holdfast on it.

    `user_of` names the user who runs the server for a backup, empty for the user of this process.
    """

    name: str
    version: str
    rooms: Rooms
    user_of: Callable[[Manifest], str] = lambda _manifest: ""
    workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillContext:
    """The dependencies of the drills of one job; none of them is a connection to its source.

    `guard` lets one drill of the job at a time run on this host. `reader` reads the repository,
    and remembers on this host what was restored.
    """

    job: str
    reader: BackupReader
    guard: Guard
    open_server: OpenServer
    host: DrillHost
    gauges: Gauges


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRequest:
    """Which backup to drill, how, and for how long at most.

    An empty `backup_id` means the newest backup that was taken `not_after`, of each database or of
    `database`. `options` are for the restore of rows.
    """

    backup_id: str = ""
    database: str = ""
    not_after: datetime | None = None
    checks: Sequence[Check] = ()
    goals: Goals = field(default_factory=Goals)
    budget: timedelta = timedelta(hours=4)
    keep: bool = False

    @property
    def names_no_backup(self) -> bool:
        """Whether the newest backup is drilled."""
        return not self.backup_id or self.backup_id.endswith(f"/{LATEST}")


@dataclass
class _Course:
    """What a drill has found so far."""

    findings: list[DrillFinding] = field(default_factory=list)
    rows: list[ProofRow] = field(default_factory=list)
    seconds: DrillSeconds = field(default_factory=DrillSeconds)
    server: str = ""
    reached: datetime | None = None
    error: HoldfastError | None = None
    kept: str = ""

    @property
    def outcome(self) -> Outcome:
        is_bad = self.error is not None or any(each.is_bad for each in self.rows)
        return Outcome.FAILED if is_bad else Outcome.PASSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Drilled:
    """A finished drill: its record, how to reach a server that was kept, and its exit code.

    `missed` are the goals that it did not reach, in words.
    """

    record: DrillRecord
    exit_code: int
    kept: str = ""
    missed: tuple[str, ...] = ()


def drill_backup(
    context: DrillContext, request: DrillRequest, manifest: Manifest, *, ends: float
) -> Drilled:
    """Drill one backup until `ends`, in seconds of the monotonic clock.

    The record is stored whatever the outcome. Raises only what keeps it from being stored.
    """
    began, course = context.reader.clock(), _Course()
    drill = _Drill(context=context, request=request, manifest=manifest, course=course)
    events.info("drill_begun", backup=manifest.backup_id, database=manifest.server.database)
    try:
        drill.run(ends)
    except HoldfastError as error:
        course.error = error
        course.rows += _row_of(error)
    except OSError as error:
        what = f"cannot drill '{manifest.backup_id}'"
        course.error = disk_error(error, what) or DrillFailed(f"{what}: {error}")
    record = drill.record(began)
    DrillRecords(context.reader.repository, context.job).commit(record)
    events.reached("drill-recorded")
    if record.passed:
        context.reader.verification_log.restored(manifest.backup_id, at=record.ended)
    exit_code = _code_of(course)
    is_newest = request.not_after is None and request.names_no_backup
    context.gauges.show_drill(record, exit_code=exit_code, measures_loss=is_newest)
    missed = request.goals.missed(record, measures_loss=is_newest)
    for each in missed:
        events.warning("drill_goal_missed", drill=record.drill_id, because=each)
    told = events.info if record.passed else events.error
    told("drill_done", drill=record.drill_id, outcome=record.outcome, problem=record.problem)
    return Drilled(record=record, exit_code=exit_code, kept=course.kept, missed=tuple(missed))


def _code_of(course: _Course) -> int:
    """A drill that found something bad has failed; one that could not be carried out says why."""
    if course.outcome is Outcome.PASSED:
        return 0
    found_bad = course.error is None or isinstance(
        course.error, VerifyFailed | RestoreFailed | TargetOutOfReach | DrillFailed
    )
    return DrillFailed.exit_code if found_bad or not course.error else course.error.exit_code


_ROWS = {VerifyFailed: "fingerprints", RestoreFailed: "restore", TargetOutOfReach: "recovery"}


def _row_of(error: HoldfastError) -> list[ProofRow]:
    """The row that an error of the restore failed; none for what proves nothing."""
    name = _ROWS.get(type(error), "")
    detail = error.message
    return [ProofRow(name=name, outcome=Outcome.FAILED, detail=detail)] if name else []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drill:
    context: DrillContext
    request: DrillRequest
    manifest: Manifest
    course: _Course

    def run(self, ends: float) -> None:
        """Carry out every step; whatever fails, the server is ended and its room removed."""
        context, manifest = self.context, self.manifest
        rooms = context.host.rooms
        require_identity(manifest, context.reader.identities)
        rooms.require_space(manifest.plain_bytes)
        with rooms.made(user=context.host.user_of(manifest)) as room:
            server = context.open_server(manifest, room, self.request.not_after)
            watch = DrillWatch(
                budget=self.request.budget,
                ends=ends,
                memory_bytes=room.memory_bytes,
                memory=lambda: rooms.memory(room),
            )
            repository = MeasuredRepository(context.reader.repository, require=watch.require)
            with afterwards(self._close, server, room), watch.over(server.abort):
                self._steps(server, repository)

    def _close(self, server: DrillServer, room: DrillRoom) -> None:
        server.close(keep=self.request.keep)
        if self.request.keep:
            self.context.host.rooms.keep(room)
            # The operator has to remove both.
            places = " and ".join(dict.fromkeys((room.folder, room.sockets)))
            self.course.kept = f"{server.connection or 'no server'} (in {places})"

    def _steps(self, server: DrillServer, repository: MeasuredRepository) -> None:
        course, stored = self.course, self._stored(repository)
        course.findings += server.problems(stored)
        blocking = [each for each in course.findings if each.blocks]
        if blocking:
            raise DrillFailed(
                f"cannot drill '{self.manifest.backup_id}': this host lacks "
                + ", ".join(each.subject for each in blocking),
                hint=blocking[0].hint,
            )
        with self._timed("prepare"):
            server.prepare()
        events.reached("drill-prepared")
        self._restore(server, repository)
        events.reached("drill-restored")
        with self._timed("checks"):
            course.rows += server.verify_files()
        with self._timed("recovery"):
            server.recover()
        course.server = server.version
        course.reached = server.reached() or self.manifest.snapshot_at
        events.reached("drill-recovered")
        with self._timed("checks"):
            self._prove(server, repository)
        events.reached("drill-proved")

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        with afterwards(self._took, name, time.monotonic()):
            yield

    def _took(self, name: str, began: float) -> None:
        before: float = getattr(self.course.seconds, name)
        seconds = round(before + time.monotonic() - began, 3)
        self.course.seconds = replace(self.course.seconds, **{name: seconds})

    def _stored(self, repository: MeasuredRepository) -> RepositoryParts:
        return RepositoryParts(repository=repository, identities=self.context.reader.identities)

    def _restore(self, server: DrillServer, repository: MeasuredRepository) -> None:
        progress = MeasuredProgress(self.context.reader.progress, self.manifest)
        before, began = repository.seconds, time.monotonic()

        def took() -> None:
            measured = restore_seconds(
                began=began,
                loaded_at=progress.loaded_at,
                ended=time.monotonic(),
                fetching=repository.seconds - before,
                workers=self.context.host.workers,
            )
            self.course.seconds = replace(measured, prepare=self.course.seconds.prepare)

        with afterwards(took):
            report = restore(
                repository,
                server.target(self.manifest.server.database),
                self.manifest.backup_id,
                progress=progress,
                options=server.options,
                workers=self.context.host.workers,
                settings=server.settings,
                identities=self.context.reader.identities,
            )
        self.course.rows += [*_table_rows(report.tables), *_notes(report.notes)]

    def _prove(self, server: DrillServer, repository: MeasuredRepository) -> None:
        self.course.rows.append(self._fingerprints(repository))
        for row in server.prove():
            self.course.rows.append(row)
        for check in self.request.checks:
            if check.database and not self._has(server, check.database):
                continue
            self.course.rows.append(self._checked(server, check))

    def _has(self, server: DrillServer, database: str) -> bool:
        return server.holds_every_database or database == self.manifest.server.database

    def _fingerprints(self, repository: MeasuredRepository) -> ProofRow:
        """Read the parts that the restore did not need, and count all that were proven."""
        identities = self.context.reader.identities
        parts = {part.key: part for part in self.manifest.parts}
        for key in parts.keys() - repository.read:
            for _ in proven(repository, parts[key], identities=identities, both=False):
                pass
        return compared(
            "fingerprints",
            expected=f"{len(parts)} parts",
            found=f"{len(parts.keys() & repository.read)} parts",
        )

    def _checked(self, server: DrillServer, check: Check) -> ProofRow:
        """The row of a check; one that fails does not keep the others from being asked."""
        try:
            answer = server.ask(check.sql, database=check.database, timeout_seconds=CHECK_SECONDS)
        except (CheckRefused, DrillFailed) as error:
            return ProofRow(name=check.title, outcome=Outcome.FAILED, detail=error.message)
        taken_at = self.course.reached or self.manifest.snapshot_at
        return check.judged(answer, taken_at=taken_at)

    def record(self, began: datetime) -> DrillRecord:
        course, context, manifest = self.course, self.context, self.manifest
        error = course.error
        return DrillRecord(
            job=context.job,
            name=f"{began:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
            backup=manifest.backup_id,
            database=manifest.server.database,
            host=context.host.name,
            version=context.host.version,
            began=began,
            ended=context.reader.clock(),
            outcome=Outcome.PASSED if course.outcome is Outcome.PASSED else Outcome.FAILED,
            server=course.server,
            findings=tuple(course.findings),
            rows=fitting(course.rows),
            seconds=course.seconds,
            reached=course.reached,
            plain_bytes=manifest.plain_bytes,
            error=storable(error.message) if error else "",
            hint=storable(error.hint) if error else "",
        )


def _table_rows(tables: Sequence[RestoredTable]) -> Iterator[ProofRow]:
    """A row for each bad table, and for good ones up to a number; then one for all others."""
    bad = [each for each in tables if each.problem]
    good = [each for each in tables if not each.problem]
    for table in (*bad[:MOST_TABLE_ROWS], *good[:MOST_TABLE_ROWS]):
        yield compared(
            f"rows of {table.relation}",
            expected=_content(table.rows_expected, table.checksum_expected),
            found=_content(table.rows_found, table.checksum_found),
        )
    for kind, left in (("bad", bad[MOST_TABLE_ROWS:]), ("good", good[MOST_TABLE_ROWS:])):
        if left:
            yield compared(
                f"rows of {len(left)} other {kind} tables",
                expected=sum(each.rows_expected for each in left),
                found=sum(each.rows_found for each in left),
            )


def _content(rows: int, checksum: str) -> str:
    return f"{rows} rows" + (f", checksum {checksum}" if checksum else "")


def _notes(notes: Sequence[str]) -> Iterator[ProofRow]:
    for note in notes:
        yield ProofRow(name="note of the restore", outcome=Outcome.SKIPPED, detail=note)
