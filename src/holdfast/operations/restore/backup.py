"""Restore a backup, whole or some of its tables, into a named target."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.catalog.catalog import Catalog
from holdfast.model.backup import Manifest, Part, PartKind, Relation
from holdfast.model.errors import (
    BackupNotFound,
    HoldfastError,
    RestoredWithFailures,
    Unsupported,
    VerifyFailed,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.operations.backup.earlier import chain_of
from holdfast.operations.parts.blob_read import blob_name, names_in, proven_blob
from holdfast.operations.parts.proof import RepositoryParts
from holdfast.operations.parts.read import HINT, BlobRecords, require_identity
from holdfast.ports.target import WHOLE, RestoreOptions, RestoreRequest, Target
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards

if TYPE_CHECKING:
    from holdfast.model.restore import (
        FailedObject,
        FailedStatements,
        OpenBlob,
        Restored,
        RestoredTable,
    )
    from holdfast.pipeline.encryption import Identities
    from holdfast.ports.repository import Repository
    from holdfast.ports.run import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """The result of a restore; the target's server counted the rows.

    `failed` names the objects that could not be restored. `script` is the path of their
    statements, empty if there are none or they could not be written.
    """

    manifest: Manifest
    target: str
    tables: tuple[RestoredTable, ...]
    plain_bytes: int
    seconds: float
    failed: tuple[FailedObject, ...] = ()
    script: str = ""
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return sum(table.rows_found for table in self.tables)

    @property
    def exit_code(self) -> int:
        return RestoredWithFailures.exit_code if self.failed else 0


def restore(
    repository: Repository,
    target: Target,
    backup_id: str,
    *,
    progress: Progress,
    options: RestoreOptions = WHOLE,
    workers: int = 1,
    settings: Mapping[str, str] | None = None,
    identities: Identities | None = None,
    statements: FailedStatements | None = None,
) -> RestoreReport:
    """Restore what `options` name into `target`; failed statements are kept in `statements`.

    Every part is verified by its stored fingerprint while it is read. An incremental backup is
    restored together with its chain. `settings` are for the server of a cluster. Raises
    `BackupNotFound` and `IdentityNeeded` before anything is touched, `TargetNotEmpty`,
    `VerifyFailed` for a damaged part, and `RestoreFailed` naming the object.
    """
    began = time.monotonic()
    manifest, below = _openable(repository, backup_id, identities)
    request = RestoreRequest(
        parts=manifest.parts,
        options=options,
        earlier=tuple(each.parts for each in below),
        server_version=manifest.server.version,
        tables=chosen_tables(manifest, options),
        workers=workers,
        open_blob=_blob_opener(repository, manifest, identities),
        settings=settings,
    )
    wanted = wanted_parts(manifest, request.tables)
    wanted += [part for each in below for part in each.parts]
    plain_bytes = sum(part.plain_bytes for part in wanted)
    progress.begin(total_bytes=plain_bytes, parts=len(wanted))
    stored = RepositoryParts(repository=repository, identities=identities, advance=progress.advance)
    events.reached("restore-begun")
    restored = target.restore(request, stored, progress)
    report = RestoreReport(
        manifest=manifest,
        target=target.name,
        tables=restored.tables,
        plain_bytes=plain_bytes,
        seconds=round(time.monotonic() - began, 3),
        failed=restored.failed,
        notes=restored.notes,
    )
    return _with_script(report, restored, statements)


def _openable(
    repository: Repository, backup_id: str, identities: Identities | None
) -> tuple[Manifest, Sequence[Manifest]]:
    """The backup and those below it; raises `IdentityNeeded` if one of them cannot be opened."""
    catalog = Catalog(repository)
    manifest = catalog.find(backup_id)
    below = chain_of(catalog, manifest)
    for each in (*below, manifest):
        require_identity(each, identities)
    return manifest, below


def _with_script(
    report: RestoreReport, restored: Restored, statements: FailedStatements | None
) -> RestoreReport:
    """Keep the failed statements; a full disk here must not hide the result of the restore."""
    if not restored.failed or statements is None:
        return report
    try:
        script = statements.keep(report.manifest.backup_id, script_of(report, restored.preamble))
    except HoldfastError as error:
        events.warning("failed_statements_not_saved", reason=error.message, hint=error.hint)
        return report
    return replace(report, script=script)


def script_of(report: RestoreReport, preamble: str) -> str:
    """The failed statements in their order, each after a comment with its error."""
    head = (
        f"-- {len(report.failed)} objects of backup {report.manifest.backup_id} that could not be"
        f" restored into {report.target}."
    )
    return "\n".join(
        [
            _comment(head),
            "-- Keep their order, and run each of them after you have removed its cause.",
            preamble.rstrip("\n"),
            *(
                f"\n{_comment(f'-- {each.kind} {each.name}: {each.cause}')}"
                f"\n{each.statement.strip() or '-- (no statement creates it)'}"
                for each in report.failed
            ),
            "",
        ]
    )


def _comment(text: str) -> str:
    """`text` on one line, so that a server's message about a crafted name is never a statement."""
    return "".join(char if char.isprintable() else " " for char in text)


def chosen_tables(manifest: Manifest, options: RestoreOptions) -> tuple[Relation, ...]:
    """The tables that `options` name directly or by schema; empty means all.

    Raises `BackupNotFound` for one that the backup lacks, and `Unsupported` for one schema of an
    archive.
    """
    named = [_relation(manifest, name) for name in options.tables]
    if options.schemas and any(part.kind is PartKind.ARCHIVE for part in manifest.parts):
        raise Unsupported(
            f"cannot restore one schema of '{manifest.backup_id}': it was stored in one piece",
            hint="name its tables with --table, use pg_restore --schema on the stored dump, or"
            " restore the whole backup",
        )
    for schema in options.schemas:
        found = {
            relation
            for part in manifest.parts
            for relation in part.relations
            if relation.schema == schema
        }
        if not found:
            raise BackupNotFound(
                f"cannot restore schema '{schema}' of '{manifest.backup_id}':"
                " the backup holds no table of this schema",
                hint=f"holdfast show {manifest.backup_id} lists its tables",
            )
        named += sorted(found, key=str)
    return tuple(dict.fromkeys(named))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a restore; `size` is in plain bytes."""

    kind: PartKind
    what: str
    rows: int | None
    size: int


# A restore with `data_only` skips these.
_DEFINITIONS = {PartKind.PRE_DATA, PartKind.INDEXES, PartKind.POST_DATA, PartKind.GRANTS}


def planned_steps(manifest: Manifest, options: RestoreOptions) -> list[Step]:
    """The steps of `restore` in their order; raises `BackupNotFound` for a missing table."""
    tables = set(chosen_tables(manifest, options))
    steps: list[Step] = []
    order = list(PartKind)
    for part in sorted(manifest.parts, key=lambda each: order.index(each.kind)):
        if part.kind is PartKind.GLOBALS and not options.globals:
            continue
        if options.data_only and part.kind in _DEFINITIONS:
            continue
        steps += [
            step
            for step, relations in _steps_of(part)
            if not tables or not relations or not tables.isdisjoint(relations)
        ]
    return steps


def _steps_of(part: Part) -> Iterator[tuple[Step, tuple[Relation, ...]]]:
    for member in part.members:
        what = str(member.relation)
        step = Step(kind=part.kind, what=what, rows=member.rows, size=member.plain_bytes)
        yield step, member.relations
    if not part.members:
        what = str(part.relation or part.name)
        yield (
            Step(kind=part.kind, what=what, rows=part.rows, size=part.plain_bytes),
            part.relations,
        )


def wanted_parts(manifest: Manifest, tables: Sequence[Relation]) -> list[Part]:
    """The parts that hold rows of these tables; all parts if `tables` is empty."""
    return [
        part
        for part in manifest.parts
        if not tables or part.kind is PartKind.ARCHIVE or not set(tables).isdisjoint(part.relations)
    ]


def _blob_opener(
    repository: Repository, manifest: Manifest, identities: Identities | None
) -> OpenBlob:
    names, records = names_in(manifest, identities), BlobRecords(repository)
    blobs = {blob_name(blob): blob for blob in manifest.blobs}

    @contextmanager
    def open_blob(fingerprint: str) -> Iterator[Iterator[bytes]]:
        blob = blobs.get(names.name_of(fingerprint))
        if blob is None:
            raise VerifyFailed(
                f"cannot find blob '{fingerprint}': the manifest of '{manifest.backup_id}' does not"
                " list it",
                hint=HINT,
            )
        plain = proven_blob(repository, blob, names=names, identities=identities, records=records)
        with afterwards(plain.close):
            yield plain

    return open_blob


def _relation(manifest: Manifest, name: str) -> Relation:
    """The table that an operator names `SCHEMA.NAME`, or `NAME` if that is unique."""
    if any(part.kind is PartKind.ARCHIVE for part in manifest.parts):
        # Only the target looks into an archive; it refuses a table that is not in there.
        schema, _, table = name.rpartition(".")
        return Relation(schema=schema, name=table)
    relations = {relation for part in manifest.parts for relation in part.relations}
    found = [each for each in relations if name in (str(each), each.name)]
    exact = [each for each in found if str(each) == name]
    if len(exact or found) == 1:
        return (exact or found)[0]
    problem = "several tables have this name" if found else "the backup holds no such table"
    raise BackupNotFound(
        f"cannot restore table '{name}' of '{manifest.backup_id}': {problem}",
        hint=f"holdfast show {manifest.backup_id} lists its tables",
    )
