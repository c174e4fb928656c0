"""Bring a backup back, whole or some of its tables, into a database that was named."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from holdfast.catalog.catalog import Catalog
from holdfast.errors import BackupNotFound
from holdfast.model import Manifest, Part, PartKind, Relation
from holdfast.operations.parts import proven
from holdfast.ports import Progress, Repository, RestoredTable, RestoreRequest, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """What was restored, counted by the server it was restored to."""

    manifest: Manifest
    target: str
    tables: tuple[RestoredTable, ...]
    plain_bytes: int
    seconds: float

    @property
    def rows(self) -> int:
        return sum(table.rows_found for table in self.tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreChoice:
    """What the operator asked for."""

    backup_id: str
    tables: Sequence[str] = ()
    overwrite: bool = False
    globals: bool = False
    workers: int = 1


def restore(
    repository: Repository, target: Target, choice: RestoreChoice, *, progress: Progress
) -> RestoreReport:
    """Restore what `choice` names into `target`.

    Every part is proven against its fingerprints while it is read. Raises `BackupNotFound`,
    `TargetNotEmpty`, `VerifyFailed` for a damaged part, `RestoreFailed` naming the object.
    """
    began = time.monotonic()
    manifest = Catalog(repository).find(choice.backup_id)
    tables = tuple(_relation(manifest, name) for name in choice.tables)
    request = RestoreRequest(
        parts=manifest.parts,
        tables=tables,
        overwrite=choice.overwrite,
        globals=choice.globals,
        workers=choice.workers,
    )
    wanted = [
        part
        for part in manifest.parts
        if not tables or part.kind is PartKind.ARCHIVE or set(tables) & set(part.relations)
    ]
    plain_bytes = sum(part.plain_bytes for part in wanted)
    progress.begin(total_bytes=plain_bytes, parts=len(wanted))

    @contextmanager
    def open_part(part: Part) -> Iterator[Iterator[bytes]]:
        yield proven(repository, part, advance=progress.advance)

    restored = target.restore(request, open_part, progress)
    return RestoreReport(
        manifest=manifest,
        target=target.name,
        tables=tuple(restored),
        plain_bytes=plain_bytes,
        seconds=round(time.monotonic() - began, 3),
    )


def _relation(manifest: Manifest, name: str) -> Relation:
    """The table that an operator calls `SCHEMA.NAME`, or `NAME` where only one is called that."""
    if any(part.kind is PartKind.ARCHIVE for part in manifest.parts):
        # Only the target looks into an archive; it refuses what it does not find there.
        schema, _, table = name.rpartition(".")
        return Relation(schema=schema, name=table)
    relations = {relation for part in manifest.parts for relation in part.relations}
    found = [each for each in relations if name in (str(each), each.name)]
    exact = [each for each in found if str(each) == name]
    if len(exact or found) == 1:
        return (exact or found)[0]
    problem = "several tables are called that" if found else "the backup holds no such table"
    raise BackupNotFound(
        f"cannot restore table '{name}' of '{manifest.backup_id}': {problem}",
        hint=f"holdfast show {manifest.backup_id} lists its tables",
    )
