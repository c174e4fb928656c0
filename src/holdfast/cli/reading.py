"""`holdfast list`, `holdfast show` and `holdfast verify`."""

from __future__ import annotations

import typer

from holdfast.catalog.catalog import Catalog, Damaged
from holdfast.catalog.failure import Failure
from holdfast.catalog.manifest import as_json as manifest_json
from holdfast.cli import documents
from holdfast.cli.progress import metered
from holdfast.cli.session import (
    BackupId,
    Database,
    Identity,
    JsonOption,
    SomeJob,
    print_document,
    session_of,
)
from holdfast.cli.tables import (
    BACKUP_COLUMNS,
    backup_row,
    encryption_line,
    size,
    table_of,
    time_of,
)
from holdfast.model import Manifest, Part
from holdfast.operations.verify import verify as verify_backup
from holdfast.ports import Repository


def list_backups(
    context: typer.Context, job: SomeJob = None, *, as_json: JsonOption = False
) -> None:
    """List finished backups, newest first: those of JOB, or of every repository.

    A run that failed and a backup whose manifest is damaged are shown as such, never as good.

    \b
    holdfast list
    holdfast list shop --json | jq -r '.backups[0].backup'
    """
    session = session_of(context)
    repositories = session.repositories() if job is None else [session.repository(job)]
    manifests, damaged, failures = _surveyed(repositories, job or "")
    if as_json:
        content = {
            "backups": [documents.of_backup(each) for each in manifests],
            "failed": documents.of_failures(failures),
            "damaged": documents.of_damaged(damaged),
        }
        print_document("list", content)
        return
    if manifests:
        session.show(table_of(BACKUP_COLUMNS, [backup_row(each) for each in manifests]))
    elif not damaged and not failures:
        session.say("there are no backups yet; make one: holdfast backup JOB")
    for failed in failures:
        at = failed.relation or failed.part
        where = f" at '{at}'" if at else ""
        kept = f" ({failed.parts_kept} parts kept for --resume)" if failed.parts_kept else ""
        session.say(f"failed: {failed.backup_id}{where}: {failed.error}{kept}")
    for broken in damaged:
        session.say(f"damaged: {broken.backup_id}: {broken.problem}")


def _surveyed(
    repositories: list[Repository], job: str
) -> tuple[list[Manifest], tuple[Damaged, ...], list[Failure]]:
    surveys = [Catalog(repository).survey(job) for repository in repositories]
    manifests = [manifest for survey in surveys for manifest in survey.manifests]
    manifests.sort(key=lambda each: each.snapshot_at, reverse=True)
    failures = [each for survey in surveys for each in survey.failures]
    return manifests, tuple(each for survey in surveys for each in survey.damaged), failures


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
    rows = [
        (
            _called(part),
            part.kind.value,
            "" if part.rows is None else str(part.rows),
            size(part.plain_bytes),
            size(part.stored_bytes),
            part.stored_sha256[:12],
        )
        for part in manifest.parts
    ]
    session.show(table_of(("PART", "KIND", "ROWS", "SIZE", "STORED", "SHA-256"), rows))
    for line in _summary(manifest):
        session.say(line)


def _called(part: Part) -> str:
    if part.members:
        return f"{part.name} ({len(part.members)} tables)"
    pages = part.details.get("pages")
    return f"{part.relation or part.name}{f' pages {pages}' if pages else ''}"


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


def verify(
    context: typer.Context,
    backup_id: BackupId,
    *,
    database: Database = "",
    identity: Identity = None,
    as_json: JsonOption = False,
) -> None:
    """Read every stored byte of a backup and compare sizes and fingerprints with its manifest.

    Every damaged part is named; the exit code is then 31. Of an encrypted backup only what is
    stored is compared, unless an identity opens it.

    \b
    holdfast verify shop/latest
    holdfast verify shop/latest --identity /root/restore.key
    """
    session = session_of(context)
    identities = session.identities(identity)
    repository = session.repository(_job_of(backup_id))
    slots = session.reading_slots(_job_of(backup_id))
    with metered(f"verify {backup_id}") as meter:
        report = verify_backup(
            repository,
            backup_id,
            workers=slots,
            progress=meter,
            database=database,
            identities=identities,
        )
    if as_json:
        print_document("verify", documents.of_verify(report))
    elif report.bad:
        session.show(table_of(("PART", "PROBLEM"), [(bad.name, bad.problem) for bad in report.bad]))
        session.say(f"{report.manifest.backup_id}: {len(report.bad)} of {report.parts} parts bad")
    else:
        session.say(
            f"{report.manifest.backup_id}: all {report.parts} parts are what was written "
            f"({size(report.stored_bytes)} stored, {size(report.plain_bytes)} plain)"
        )
        if report.unopened:
            session.say(
                f"{report.unopened} of them are encrypted, and only what is stored was compared:"
                " --identity FILE opens them"
            )
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _job_of(backup_id: str) -> str:
    return backup_id.partition("/")[0]
