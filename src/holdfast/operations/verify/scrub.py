"""Read backups back a little at a time, least recently read first, within a given time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.catalog.catalog import Catalog, Damaged
from holdfast.model.backup import BadPart, Manifest, Summary
from holdfast.model.errors import VerifyFailed
from holdfast.model.part_gaps import gaps
from holdfast.operations.backup.earlier import broken_chains
from holdfast.operations.verify.backup import BackupReader, Piece, home_of, pieces_of
from holdfast.operations.wal.list import missing_wal
from holdfast.ports.host_state import ReadBack, Reread, VerificationLog
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
    known = _known(survey.manifests, reader.verification_log)
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


def proven_at(manifest: Manifest, verification_log: VerificationLog) -> datetime | None:
    """When the least recently read piece was read; None unless all were read and found good."""
    known = _known((manifest,), verification_log)
    places = [(home_of(manifest.backup_id, each), each.key) for each in pieces_of(manifest)]
    found = [known.get(place) for place in places]
    times = [each.at for each in found if each is not None and not each.problem]
    return min(times) if times and len(times) == len(found) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupProof:
    """When this host last verified and restored a backup, None for never; `is_bad` for damage."""

    verified_at: datetime | None = None
    is_bad: bool = False
    restored_at: datetime | None = None


def proofs_of(
    summaries: Sequence[Summary],
    job: str,
    verification_log: VerificationLog,
    *,
    manifest_of: Callable[[str], Manifest],
) -> dict[str, BackupProof]:
    """The proof of each backup, by its id; a backup is verified once all of it was read back.

    Only the manifest names a backup's blobs: it is read if all parts are verified.
    """
    known = verification_log.read_back(job)
    found: dict[str, BackupProof] = {}
    for each in summaries:
        read = known.get(each.backup_id, ReadBack())
        verified_at = read.since if read.parts >= each.parts and not read.bad else None
        if verified_at is not None and each.blobs:
            verified_at = proven_at(manifest_of(each.backup_id), verification_log)
        found[each.backup_id] = BackupProof(
            verified_at=verified_at, is_bad=bool(read.bad), restored_at=read.restored_at
        )
    return found


Known = dict[tuple[str, str], Reread]
Due = tuple[Manifest, Piece]


def _known(manifests: tuple[Manifest, ...], verification_log: VerificationLog) -> Known:
    homes = {home_of(each.backup_id, piece) for each in manifests for piece in pieces_of(each)}
    return {
        (home, key): found for home in homes for key, found in verification_log.of(home).items()
    }


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
