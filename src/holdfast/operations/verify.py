"""Read everything back and compare it with the manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from holdfast import events
from holdfast.catalog.catalog import BLOBS, Catalog
from holdfast.errors import HoldfastError, RepositoryUnreachable, VerifyFailed
from holdfast.model import Blob, Manifest, Part
from holdfast.operations.blobs import proven_blob
from holdfast.operations.completeness import BadPart, gaps
from holdfast.operations.parts import HINT, proven
from holdfast.ports import Clock, Progress, Repository
from holdfast.proving import Proofs, Reread
from holdfast.scheduling.slots import run_all

Level = Literal["quick", "full"]
Piece = Part | Blob


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was looked at and what was wrong with it."""

    manifest: Manifest
    level: Level = "full"
    parts: int
    plain_bytes: int
    stored_bytes: int
    bad: tuple[BadPart, ...]

    @property
    def exit_code(self) -> int:
        return VerifyFailed.exit_code if self.bad else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads pieces of backups and remembers when, and what was wrong with them."""

    repository: Repository
    proofs: Proofs
    clock: Clock
    progress: Progress

    def problem(self, backup_id: str, piece: Piece) -> BadPart | None:
        """What is wrong with `piece`, as found by reading all of it."""
        bad = _problem(self.repository, piece, self.progress)
        found = Reread(at=self.clock(), problem=bad.problem if bad else "")
        try:
            self.proofs.reread(home_of(backup_id, piece), piece.key, found)
        except HoldfastError as error:
            # Whoever may read a repository need not have a state directory.
            events.debug("reread_not_remembered", key=piece.key, problem=error.message)
        return bad


def verify(reader: Reader, backup_id: str, *, workers: int, database: str = "") -> VerifyReport:
    """Read every part of `backup_id`: sizes, both fingerprints, rows where they can be counted,
    ranges that follow each other; and every blob it refers to.

    All parts are read, whatever is wrong with one of them: the report names every bad one.
    Raises `BackupNotFound`, `ManifestInvalid`, `RepositoryUnreachable`.
    """
    manifest = Catalog(reader.repository).find(backup_id, database=database)
    pieces = pieces_of(manifest)
    reader.progress.begin(total_bytes=sum(piece.plain_bytes for piece in pieces), parts=len(pieces))
    problems = run_all(
        pieces,
        lambda piece: reader.problem(manifest.backup_id, piece),
        workers=workers,
        abort=nothing,
    )
    return VerifyReport(
        manifest=manifest,
        parts=len(pieces),
        plain_bytes=manifest.plain_bytes,
        stored_bytes=manifest.stored_bytes,
        bad=(*gaps(manifest), *(problem for problem in problems if problem)),
    )


def pieces_of(manifest: Manifest) -> list[Piece]:
    return [*manifest.parts, *manifest.blobs]


def home_of(backup_id: str, piece: Piece) -> str:
    """Under which id a reading is remembered: blobs belong to all backups of a job."""
    if isinstance(piece, Part):
        return backup_id
    return f"{backup_id.partition('/')[0]}/{BLOBS}"


def _problem(repository: Repository, piece: Piece, progress: Progress) -> BadPart | None:
    name = piece.name if isinstance(piece, Part) else piece.key
    try:
        if isinstance(piece, Part):
            _read_part(repository, piece, progress.advance)
        else:
            for chunk in proven_blob(repository, piece):
                progress.advance(len(chunk))
    except (VerifyFailed, RepositoryUnreachable) as error:
        return BadPart(name=name, problem=error.message)
    progress.part_done(name)
    return None


def _read_part(repository: Repository, part: Part, advance: Callable[[int], None]) -> None:
    """Raises `VerifyFailed`."""
    lines = 0
    counts = part.details.get("format") == "text" and part.rows is not None and not part.members
    for chunk in proven(repository, part, advance=advance):
        # In COPY's text format a newline inside a value is written as two other characters.
        lines += chunk.count(b"\n") if counts else 0
    if counts and lines != part.rows:
        raise VerifyFailed(
            f"cannot trust part '{part.name}': it holds {lines} rows, the manifest says "
            f"{part.rows}",
            hint=HINT,
        )


def nothing() -> None:
    """Reading a repository needs no cancelling: every chunk is short."""
