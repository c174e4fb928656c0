"""`holdfast list`, `holdfast show` and `holdfast du`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import typer
from rich.table import Table

from holdfast.catalog.manifest import as_json as manifest_json
from holdfast.catalog.manifest_index import Overview
from holdfast.cli.context import (
    BackupId,
    Database,
    JsonOption,
    Session,
    SomeJob,
    print_document,
    session_of,
)
from holdfast.cli.render import documents
from holdfast.cli.render.tables import (
    BACKUP_COLUMNS,
    backup_row,
    encryption_line,
    size,
    table_of,
    time_of,
)
from holdfast.model.backup import Manifest, Part, Summary
from holdfast.model.errors import HoldfastError
from holdfast.operations.usage import JobUsage


def list_backups(
    context: typer.Context, job: SomeJob = None, *, as_json: JsonOption = False
) -> None:
    """List finished backups, newest first: those of JOB, or of every repository.

    A run that failed and a backup whose manifest is damaged are shown as such, never as good. One
    repository of several that cannot be reached does not hide the others; the exit code is its.

    \b
    holdfast list
    holdfast list shop --json | jq -r '.backups[0].backup'
    """
    session = session_of(context)
    found, unseen = session.of_each_repository(job, lambda name: session.overview(name, job))
    held = any(each.summaries or each.damaged or each.failures for each in found.values())
    session.require_known(job, holds_something=held)
    if as_json:
        print_document("list", documents.of_list(found) | documents.of_unseen(unseen))
    else:
        _show_list(session, found)
        session.tell_unseen(unseen)
    _end(unseen)


def _end(unseen: Mapping[str, HoldfastError]) -> None:
    first = next(iter(unseen.values()), None)
    if first is not None:
        raise typer.Exit(first.exit_code)


def _show_list(session: Session, overviews: Mapping[str, Overview]) -> None:
    summaries = [(name, each) for name, found in overviews.items() for each in found.summaries]
    if summaries:
        session.show(_listed(summaries, one_repository=len(overviews) == 1))
    elif not any(each.damaged or each.failures for each in overviews.values()):
        session.say("there are no backups yet; make one: holdfast backup JOB")
    for _, each in summaries:
        if each.parent:
            session.say(f"incremental: {each.backup_id} needs {each.parent}")
    for overview in overviews.values():
        _tell_bad(session, overview)


def _listed(summaries: list[tuple[str, Summary]], *, one_repository: bool) -> Table:
    """Newest first; where there are several repositories each row says of which it is."""
    summaries.sort(key=lambda named: named[1].snapshot_at, reverse=True)
    if one_repository:
        return table_of(BACKUP_COLUMNS, [backup_row(each) for _, each in summaries])
    rows = [(*backup_row(each), name) for name, each in summaries]
    return table_of((*BACKUP_COLUMNS, "REPOSITORY"), rows)


def _tell_bad(session: Session, overview: Overview) -> None:
    for failed in overview.failures:
        at = failed.relation or failed.part
        where = f" at '{at}'" if at else ""
        kept = f" ({failed.parts_kept} parts kept for --resume)" if failed.parts_kept else ""
        session.say(f"failed: {failed.backup_id}{where}: {failed.error}{kept}")
    for broken in overview.damaged:
        session.say(f"damaged: {broken.backup_id}: {broken.problem}")


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
    session.show(table_of(("PART", "KIND", "ROWS", "SIZE", "STORED", "SHA-256", "CONTENT"), rows))
    for line in _summary(manifest):
        session.say(line)


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
        return f"{part.name} ({len(part.members)} tables)"
    pages = part.details.get("pages")
    return f"{part.relation or part.name}{f' pages {pages}' if pages else ''}"


def _content(part: Part) -> str:
    """Whether the server summed up the rows, so that a restore proves more than their number."""
    if part.members:
        proven = sum(1 for member in part.members if member.checksum)
        return f"checksums of {proven}" if proven else ""
    return "checksum" if part.checksum else ""


def _summary(manifest: Manifest) -> list[str]:
    server = manifest.server
    took = f"{manifest.seconds:.1f} s with {manifest.workers} workers"
    return [
        f"backup       {manifest.backup_id}",
        f"database     {server.database} on {server.kind} {server.version}, host {manifest.host}",
        f"consistency  {manifest.consistency} at {time_of(manifest.snapshot_at)}",
        f"encryption   {encryption_line(manifest.recipients)}",
        *(f"proof        {name} {value}" for name, value in manifest.proof.items()),
        *(f"tool         {name} {version}" for name, version in manifest.tools.items()),
        f"took         {took}, peak memory {size(manifest.peak_memory_bytes)}",
        *(f"measured     {name} {value:g}" for name, value in manifest.metrics.items()),
        *(f"note         {note}" for note in manifest.notes),
        f"run          {manifest.run_id}",
    ]


def du(context: typer.Context, job: SomeJob = None, *, as_json: JsonOption = False) -> None:
    """Say how much room the backups of JOB, or of every job, take in their repositories.

    \b
    holdfast du
    holdfast du shop --json | jq '.jobs[0].bytes'
    """
    session = session_of(context)
    used, unseen = session.of_each_repository(job, lambda name: session.usage(name, job))
    found = [(name, each) for name, jobs in used.items() for each in jobs]
    session.require_known(job, holds_something=bool(found))
    if as_json:
        jobs = [documents.of_usage(each, name) for name, each in found]
        print_document("du", {"jobs": jobs} | documents.of_unseen(unseen))
    else:
        _show_usage(session, found)
        session.tell_unseen(unseen)
    _end(unseen)


def _show_usage(session: Session, found: Sequence[tuple[str, JobUsage]]) -> None:
    rows = [
        (
            each.job,
            str(each.backups),
            size(each.backup_bytes),
            size(each.blob_bytes),
            size(each.wal_bytes),
            size(each.unfinished_bytes),
            size(each.size_bytes),
            name,
        )
        for name, each in found
    ]
    columns = ("JOB", "BACKUPS", "DATA", "VALUES", "WAL", "UNFINISHED", "SIZE", "REPOSITORY")
    session.show(table_of(columns, rows))
