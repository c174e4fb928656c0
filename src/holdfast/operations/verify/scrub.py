"""Verify a job within a given time, least recently read first.

`reread` reads all backups part by part; `verify_job` verifies the newest one of each database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from holdfast.catalog.catalog import LATEST, Catalog, Damaged
from holdfast.model.backup import BadPart, Manifest
from holdfast.model.errors import BackupNotFound, HoldfastError, VerifyFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.part_gaps import gaps
from holdfast.operations.backup.earlier import broken_chains
from holdfast.operations.verify.backup import (
    BackupReader,
    Level,
    Piece,
    VerifyReport,
    home_of,
    pieces_of,
    quick,
    verify,
)
from holdfast.operations.verify.proofs import Known, known_of, proven_at
from holdfast.operations.verify.wal import WalFile, WalRead, WalReader
from holdfast.operations.wal.list import missing_wal, wal_reach
from holdfast.ports.host_state import Gauges, Verified
from holdfast.runtime import events
from holdfast.runtime.worker_pool import WorkerPool

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RereadReport:
    """What one scrub read, and what is left.

    `oldest` is when the least recently read piece was read; None if some piece was never read.
    `pieces` and `wal_files` were read. `unopened` counts those of which only the stored bytes were
    compared. `bad` names the backup, or nothing for a file of the WAL.
    """

    job: str
    pieces: int
    wal_files: int = 0
    plain_bytes: int
    left: int
    oldest: datetime | None
    bad: tuple[tuple[str, BadPart], ...]
    damaged: tuple[Damaged, ...]
    unopened: int = 0

    @property
    def found_bad(self) -> list[str]:
        """For each bad part its backup, empty for a file of the WAL."""
        return [backup_id for backup_id, _ in self.bad]

    @property
    def exit_code(self) -> int:
        damaged = any(each.is_backup for each in self.damaged)
        return VerifyFailed.exit_code if self.bad or damaged else 0


def reread(
    reader: BackupReader,
    job: str,
    *,
    budget: timedelta,
    workers: int,
    seconds: Callable[[], float] = time.monotonic,
) -> RereadReport:
    """Read pieces and WAL, least recently read first, each at most once; begin none after `budget`.

    Broken chains and gaps in ranges or WAL are reported for all backups, whatever was read.
    """
    ends = seconds() + budget.total_seconds()
    survey = Catalog(reader.repository).survey(job)
    known = known_of(survey.manifests, reader.verification_log)
    bad = [(each.backup_id, gap) for each in survey.manifests for gap in gaps(each)]
    bad += broken_chains(survey)
    no_wal = missing_wal(reader.repository, survey.manifests)
    bad += [
        (each.backup_id, gap)
        for each, found in zip(survey.manifests, no_wal, strict=True)
        for gap in found
    ]
    wal = WalReader(reader, job)
    queue = _oldest_first(survey.manifests, known, wal.files())
    read: list[Due | WalFile] = []

    def in_time() -> Iterator[Due | WalFile]:
        for due in queue:
            if seconds() >= ends:
                return
            read.append(due)
            yield due

    results = WorkerPool(workers).map(in_time(), lambda due: _read(reader, wal, due))
    bad += [(each.backup_id, each.found.bad) for each in results if each.found.bad is not None]
    remaining = queue[len(read) :]
    return RereadReport(
        job=job,
        pieces=sum(not each.is_wal for each in results),
        wal_files=sum(each.is_wal for each in results),
        plain_bytes=sum(each.found.plain_bytes for each in results),
        left=len(remaining),
        oldest=_last_read(known, remaining[0]) if remaining else reader.clock(),
        bad=tuple(bad),
        damaged=survey.damaged,
        unopened=sum(not each.found.opened for each in results),
    )


Due = tuple[Manifest, Piece]


@dataclass(frozen=True, slots=True)
class _Read:
    backup_id: str
    found: WalRead
    is_wal: bool = False


def _read(reader: BackupReader, wal: WalReader, due: Due | WalFile) -> _Read:
    if isinstance(due, WalFile):
        return _Read("", wal.read(due), is_wal=True)
    manifest, piece = due
    bad = reader.problem(manifest, piece)
    opened = reader.opens(manifest, piece)
    return _Read(manifest.backup_id, WalRead(bad=bad, plain_bytes=piece.plain_bytes, opened=opened))


def _oldest_first(
    manifests: tuple[Manifest, ...], known: Known, wal: Sequence[WalFile]
) -> list[Due | WalFile]:
    """Every piece once, even a blob of many backups, and every file of the WAL.

    Those that were never read come first, pieces of backups before WAL.
    """
    pieces = {piece.key: (each, piece) for each in manifests for piece in pieces_of(each)}

    def age(due: Due | WalFile) -> tuple[bool, float]:
        at = _last_read(known, due)
        return (at is not None, at.timestamp() if at else 0.0)

    return sorted([*pieces.values(), *wal], key=age)


def _last_read(known: Known, due: Due | WalFile) -> datetime | None:
    return due.read_at if isinstance(due, WalFile) else _read_at(known, *due)


def _read_at(known: Known, manifest: Manifest, piece: Piece) -> datetime | None:
    found = known.get((home_of(manifest.backup_id, piece), piece.key))
    return found.at if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """What was verified of a job; `left` are databases for which the budget was too short."""

    job: str
    level: Level
    reports: tuple[VerifyReport, ...]
    left: tuple[str, ...]
    damaged: tuple[Damaged, ...]

    @property
    def found_bad(self) -> list[str]:
        """For each bad part its backup."""
        return [each.manifest.backup_id for each in self.reports for _ in each.bad]

    @property
    def exit_code(self) -> int:
        bad = any(each.exit_code for each in self.reports)
        damaged = any(each.is_backup for each in self.damaged)
        return VerifyFailed.exit_code if bad or damaged else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """How to verify a job: only one `database` of it unless that is empty."""

    job: str
    level: Level
    budget: timedelta
    workers: int
    database: str = ""


def verify_job(
    reader: BackupReader,
    request: JobRequest,
    *,
    seconds: Callable[[], float] = time.monotonic,
) -> JobReport:
    """Verify the newest backup of each database: first those that were not read for longest.

    The first one is always verified, and none is begun after the budget. A bad backup does not stop
    the others. Raises `BackupNotFound`, and what `verify` raises.
    """
    ends = seconds() + request.budget.total_seconds()
    survey = Catalog(reader.repository).survey(request.job)
    newest: dict[str, Manifest] = {}
    for manifest in survey.manifests:
        if request.database in ("", manifest.server.database):
            newest.setdefault(manifest.server.database, manifest)
    if not newest and not survey.damaged:
        which = f" of database '{request.database}'" if request.database else ""
        raise BackupNotFound(
            f"cannot verify job '{request.job}': it has no finished backup{which}",
            hint=f"make one: holdfast backup {request.job}",
        )
    waiting = sorted(
        newest.values(), key=lambda each: proven_at(each, reader.verification_log) or NEVER
    )
    reports: list[VerifyReport] = []
    while waiting and not (reports and seconds() >= ends):
        reports.append(_verified(reader, request, waiting.pop(0)))
    return JobReport(
        job=request.job,
        level=request.level,
        reports=tuple(reports),
        left=tuple(each.server.database for each in waiting),
        damaged=survey.damaged,
    )


def _verified(reader: BackupReader, request: JobRequest, manifest: Manifest) -> VerifyReport:
    if request.level == "quick":
        return quick(reader.repository, manifest.backup_id)
    return verify(reader, manifest.backup_id, workers=request.workers)


def show(reader: BackupReader, gauges: Gauges, report: JobReport | RereadReport) -> None:
    """Publish the metrics of a verification; never fails it, and reads nothing for no monitor."""
    if not gauges.are_shown:
        return
    try:
        known = reader.verification_log.damaged(report.job)
        gauges.show_verified(
            Verified(
                job=report.job,
                at=reader.clock(),
                exit_code=report.exit_code,
                bad=len(report.found_bad),
                damaged_backups=len(known.union(report.found_bad, _damaged(report)) - {""}),
            )
        )
        newest = Catalog(reader.repository).find(f"{report.job}/{LATEST}")
        reach = wal_reach(reader.repository, newest, at=reader.clock())
        if reach is not None:
            gauges.show_wal(reach)
    except HoldfastError as error:
        events.warning("metrics_not_measured", job=report.job, problem=error.message)


def _damaged(report: JobReport | RereadReport) -> Iterable[str]:
    return (each.backup_id for each in report.damaged if each.is_backup)
