"""Read everything back and compare it with the manifest."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.catalog.catalog import Catalog
from holdfast.errors import RepositoryUnreachable, VerifyFailed
from holdfast.model import Blob, Manifest, Part
from holdfast.operations.blobs import proven_blob
from holdfast.operations.parts import proven
from holdfast.ports import Progress, Repository
from holdfast.scheduling.slots import run_all


@dataclass(frozen=True, slots=True, kw_only=True)
class BadPart:
    """A part that cannot be trusted."""

    name: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was read and what was wrong with it."""

    manifest: Manifest
    parts: int
    plain_bytes: int
    stored_bytes: int
    bad: tuple[BadPart, ...]

    @property
    def exit_code(self) -> int:
        return VerifyFailed.exit_code if self.bad else 0


def verify(
    repository: Repository,
    backup_id: str,
    *,
    workers: int,
    progress: Progress,
    database: str = "",
) -> VerifyReport:
    """Read every part of `backup_id`: sizes and both fingerprints, and every blob it refers to.

    All parts are read, whatever is wrong with one of them: the report names every bad one.
    Raises `BackupNotFound`, `ManifestInvalid`, `RepositoryUnreachable`.
    """
    manifest = Catalog(repository).find(backup_id, database=database)
    pieces: list[Part | Blob] = [*manifest.parts, *manifest.blobs]
    progress.begin(total_bytes=sum(piece.plain_bytes for piece in pieces), parts=len(pieces))
    problems = run_all(
        pieces,
        lambda piece: _problem(repository, piece, progress),
        workers=workers,
        abort=_nothing,
    )
    return VerifyReport(
        manifest=manifest,
        parts=len(pieces),
        plain_bytes=manifest.plain_bytes,
        stored_bytes=manifest.stored_bytes,
        bad=tuple(problem for problem in problems if problem),
    )


def _problem(repository: Repository, piece: Part | Blob, progress: Progress) -> BadPart | None:
    name = piece.name if isinstance(piece, Part) else piece.key
    try:
        if isinstance(piece, Part):
            for _ in proven(repository, piece, advance=progress.advance):
                pass
        else:
            for chunk in proven_blob(repository, piece):
                progress.advance(len(chunk))
    except (VerifyFailed, RepositoryUnreachable) as error:
        return BadPart(name=name, problem=error.message)
    progress.part_done(name)
    return None


def _nothing() -> None:
    """Reading a repository needs no cancelling: every chunk is short."""
