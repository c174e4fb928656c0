"""Read backups back a little at a time, least recently read first, within a given time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.catalog.catalog import Catalog, Damaged
from holdfast.model.backup import BadPart, Manifest
from holdfast.model.errors import VerifyFailed
from holdfast.model.part_gaps import gaps
from holdfast.operations.backup.earlier import broken_chains
from holdfast.operations.verify.backup import BackupReader, Piece, home_of, pieces_of
from holdfast.operations.verify.proofs import Known, known_of
from holdfast.operations.wal.list import missing_wal
from holdfast.runtime.worker_pool import WorkerPool


@dataclass(frozen=True, slots=True, kw_only=True)
class RereadReport:
    """What one scrub read, and what is left.

    `oldest` is when the least recently read piece was read; None if some piece was never read.
    `unopened` counts the pieces of which only the stored bytes were compared.
    """

    job: str
    pieces: int
    plain_bytes: int
    left: int
    oldest: datetime | None
    bad: tuple[tuple[str, BadPart], ...]
    damaged: tuple[Damaged, ...]
    unopened: int = 0

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
    """Read pieces back, least recently read first, each at most once; begin none after `budget`.

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
    queue = _oldest_first(survey.manifests, known)
    read: list[Due] = []

    def in_time() -> Iterator[Due]:
        for due in queue:
            if seconds() >= ends:
                return
            read.append(due)
            yield due

    problems = WorkerPool(workers).map(
        in_time(), lambda due: (due[0].backup_id, reader.problem(*due))
    )
    bad += [(backup_id, problem) for backup_id, problem in problems if problem is not None]
    remaining = queue[len(read) :]
    return RereadReport(
        job=job,
        pieces=len(read),
        plain_bytes=sum(piece.plain_bytes for _, piece in read),
        left=len(remaining),
        oldest=_read_at(known, *remaining[0]) if remaining else reader.clock(),
        bad=tuple(bad),
        damaged=survey.damaged,
        unopened=sum(not reader.opens(*due) for due in read),
    )


Due = tuple[Manifest, Piece]


def _oldest_first(manifests: tuple[Manifest, ...], known: Known) -> list[Due]:
    """Every piece once, even a blob of many backups; those that were never read come first."""
    pieces = {piece.key: (each, piece) for each in manifests for piece in pieces_of(each)}

    def age(due: Due) -> tuple[bool, float]:
        at = _read_at(known, *due)
        return (at is not None, at.timestamp() if at else 0.0)

    return sorted(pieces.values(), key=age)


def _read_at(known: Known, manifest: Manifest, piece: Piece) -> datetime | None:
    found = known.get((home_of(manifest.backup_id, piece), piece.key))
    return found.at if found else None
