"""`holdfast show`."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from holdfast.catalog.manifest import as_json as manifest_json
from holdfast.cli.context import BackupId, Database, JsonOption, print_document, session_of
from holdfast.cli.tables import Table, encryption_line, number, time_of, words
from holdfast.model.backup import Manifest, Part
from holdfast.model.part_gaps import pages_of
from holdfast.model.units import counted, size

COLUMNS = (
    words("PART"),
    words("KIND", drop=2),
    number("ROWS", drop=1),
    number("SIZE"),
    number("STORED", drop=3),
    words("SHA-256", drop=5),
    words("CONTENT", drop=4),
)


def show(
    context: typer.Context,
    backup_id: BackupId,
    *,
    database: Database = "",
    as_json: JsonOption = False,
) -> None:
    """Show one backup: its server, its moment and the proof of it, and every part.

    \b
    holdfast show shop/latest
    holdfast show shop/latest --json | jq '.manifest.parts[] | {name, rows, stored_sha256}'
    """
    session = session_of(context)
    manifest = session.manifest(backup_id, database)
    if as_json:
        print_document("show", {"manifest": manifest_json(manifest)})
        return
    rows = [row for part in manifest.parts for row in _rows_of(part)]
    session.show(Table(COLUMNS, rows))
    session.tell(_summary(manifest))


def _rows_of(part: Part) -> Iterator[tuple[str, ...]]:
    """The part, and below it the tables that share it: they can be restored by their names."""
    yield (
        _called(part),
        part.kind.value,
        "" if part.rows is None else str(part.rows),
        size(part.plain_bytes),
        size(part.stored_bytes),
        part.stored_sha256[:12],
        _content(part),
    )
    for member in part.members:
        rows, plain = str(member.rows), size(member.plain_bytes)
        yield f"  {member.relation}", "", rows, plain, "", "", ""


def _called(part: Part) -> str:
    if part.members:
        return f"{part.name} ({counted(len(part.members), 'table')})"
    pages = pages_of(part)
    return f"{part.relation or part.name}{f' pages {pages}' if pages else ''}"


def _content(part: Part) -> str:
    """Whether the server summed up the rows, so that a restore proves more than their number."""
    if part.members:
        proven = sum(1 for member in part.members if member.checksum)
        return f"checksums of {proven}" if proven else ""
    return "checksum" if part.checksum else ""


def _summary(manifest: Manifest) -> list[tuple[str, str]]:
    server = manifest.server
    took = f"{manifest.seconds:.1f} s with {counted(manifest.workers, 'worker')}"
    return [
        ("backup", f"{manifest.backup_id}"),
        ("database", f"{server.database} on {server.kind} {server.version}, host {manifest.host}"),
        ("consistency", f"{manifest.consistency} at {time_of(manifest.snapshot_at)}"),
        ("encryption", f"{encryption_line(manifest.recipients)}"),
        *(("proof", f"{name} {value}") for name, value in manifest.proof.texts().items()),
        *(("tool", f"{name} {version}") for name, version in manifest.tools.items()),
        ("took", f"{took}, peak memory {size(manifest.peak_memory_bytes)}"),
        *(("measured", f"{name} {value:g}") for name, value in manifest.metrics.items()),
        *(("note", f"{note}") for note in manifest.notes),
        ("run", f"{manifest.run_id}"),
    ]
