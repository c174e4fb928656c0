"""Read everything back and compare it with the manifest."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.catalog.catalog import Catalog
from holdfast.errors import RepositoryUnreachable, VerifyFailed
from holdfast.model import Manifest, Part
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
    repository: Repository, backup_id: str, *, workers: int, progress: Progress
) -> VerifyReport:
    """Read every part of `backup_id`: sizes and both fingerprints.

    All parts are read, whatever is wrong with one of them: the report names every bad one.
    Raises `BackupNotFound`, `ManifestInvalid`, `RepositoryUnreachable`.
    """
    manifest = Catalog(repository).find(backup_id)
    progress.begin(total_bytes=manifest.plain_bytes, parts=len(manifest.parts))
    problems = run_all(
        manifest.parts,
        lambda part: _problem(repository, part, progress),
        workers=workers,
        abort=_nothing,
    )
    return VerifyReport(
        manifest=manifest,
        parts=len(manifest.parts),
        plain_bytes=manifest.plain_bytes,
        stored_bytes=manifest.stored_bytes,
        bad=tuple(problem for problem in problems if problem),
    )


def _problem(repository: Repository, part: Part, progress: Progress) -> BadPart | None:
    try:
        for _ in proven(repository, part, advance=progress.advance):
            pass
    except (VerifyFailed, RepositoryUnreachable) as error:
        return BadPart(name=part.name, problem=error.message)
    progress.part_done(part.name)
    return None


def _nothing() -> None:
    """Reading a repository needs no cancelling: every chunk is short."""
