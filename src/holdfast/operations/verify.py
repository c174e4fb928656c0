"""Read everything back and compare it with the manifest."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.catalog.catalog import Catalog
from holdfast.errors import RepositoryUnreachable, VerifyFailed
from holdfast.model import Blob, Manifest, Part
from holdfast.operations.blob_names import BlobNames, names_in
from holdfast.operations.blobs import proven_blob
from holdfast.operations.opening import require_identity, require_stored
from holdfast.operations.parts import proven
from holdfast.pipeline.decrypt import Identities
from holdfast.ports import Progress, Repository
from holdfast.scheduling.slots import run_all


@dataclass(frozen=True, slots=True, kw_only=True)
class BadPart:
    """A part that cannot be trusted."""

    name: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was read and what was wrong with it.

    `unopened` counts the pieces of which only what is stored was looked at.
    """

    manifest: Manifest
    parts: int
    plain_bytes: int
    stored_bytes: int
    bad: tuple[BadPart, ...]
    unopened: int = 0

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
    identities: Identities | None = None,
) -> VerifyReport:
    """Read every part of `backup_id`: sizes and both fingerprints, and every blob it refers to.

    All parts are read, whatever is wrong with one of them: the report names every bad one. Of
    what is encrypted only the stored bytes are compared where no identity is given. Raises
    `BackupNotFound`, `ManifestInvalid`, `RepositoryUnreachable`, `IdentityNeeded` for a wrong one.
    """
    manifest = Catalog(repository).find(backup_id, database=database)
    pieces: list[Part | Blob] = [*manifest.parts, *manifest.blobs]
    if identities is not None:
        require_identity(manifest, identities)
    reader = _Reader(
        repository=repository,
        identities=identities,
        names=names_in(manifest, identities) if identities else BlobNames(),
        progress=progress,
    )
    progress.begin(total_bytes=sum(reader.bytes_of(piece) for piece in pieces), parts=len(pieces))
    problems = run_all(
        pieces,
        reader.problem,
        workers=workers,
        abort=_nothing,
    )
    return VerifyReport(
        manifest=manifest,
        parts=len(pieces),
        plain_bytes=manifest.plain_bytes,
        stored_bytes=manifest.stored_bytes,
        bad=tuple(problem for problem in problems if problem),
        unopened=sum(not reader.opens(piece) for piece in pieces),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """Looks at the pieces of one backup; called from several threads."""

    repository: Repository
    identities: Identities | None
    names: BlobNames
    progress: Progress

    def opens(self, piece: Part | Blob) -> bool:
        return piece.encryption == "none" or self.identities is not None

    def bytes_of(self, piece: Part | Blob) -> int:
        """What will be counted: plain bytes, or stored ones where they are all that is seen."""
        return piece.plain_bytes if self.opens(piece) else piece.stored_bytes

    def problem(self, piece: Part | Blob) -> BadPart | None:
        name = piece.name if isinstance(piece, Part) else piece.key
        try:
            self._read(piece)
        except (VerifyFailed, RepositoryUnreachable) as error:
            return BadPart(name=name, problem=error.message)
        self.progress.part_done(name)
        return None

    def _read(self, piece: Part | Blob) -> None:
        advance = self.progress.advance
        if not self.opens(piece):
            require_stored(self.repository, piece, advance=advance)
        elif isinstance(piece, Part):
            for _ in proven(self.repository, piece, identities=self.identities, advance=advance):
                pass
        else:
            chunks = proven_blob(
                self.repository, piece, names=self.names, identities=self.identities
            )
            for chunk in chunks:
                advance(len(chunk))


def _nothing() -> None:
    """Reading a repository needs no cancelling: every chunk is short."""
