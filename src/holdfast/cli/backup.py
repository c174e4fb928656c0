"""`holdfast backup`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from holdfast.cli.context import (
    Caller,
    ChunkSize,
    JobName,
    JsonOption,
    Session,
    acting_session_of,
    print_document,
)
from holdfast.cli.documents import Document, of_backup, of_error
from holdfast.cli.parameters import Option
from holdfast.cli.progress import Meter, watched
from holdfast.cli.tables import BAD, WARN, backup_table
from holdfast.cli.telling import Outcome
from holdfast.model.backup import Manifest
from holdfast.operations.backup.attempt import BackupChoice
from holdfast.operations.backup.job import RunReport, backup as take_backup
from holdfast.runtime import events

Resume = Annotated[
    bool,
    Option("--resume", help="Continue an unfinished backup of the same snapshot."),
]
AllowMixed = Annotated[
    bool,
    Option(
        "--allow-mixed",
        help="With --resume: continue even if the snapshot is gone; the backup is then mixed.",
    ),
]


EXAMPLES = """\
# Back up 'shop' now, as yourself
holdfast backup shop

# As the user of the timers; print the result as JSON
sudo -u holdfast holdfast backup shop --json

# Exactly as the timer does, with its limits and credentials
systemctl start holdfast-backup-shop.service

# Continue a backup that was interrupted
holdfast backup shop --resume
"""


def backup(
    context: Caller,
    job: JobName,
    *,
    resume: Resume = False,
    allow_mixed: AllowMixed = False,
    chunk_size: ChunkSize = None,
    as_json: JsonOption = False,
) -> None:
    """Back up JOB now.

    The backup exists only when all its parts are stored. A run that fails leaves no
    backup; `holdfast list` shows why it failed. A job with several databases makes one backup of
    each, and a database that fails does not stop the others. If another run of JOB is in progress,
    this one is skipped (exit code 40).
    """
    from holdfast.wiring.jobs import backup_context

    session = acting_session_of(context)
    meter = Meter()
    to_back_up = backup_context(
        session.settings,
        job,
        progress=meter,
        chunk_bytes=chunk_size,
        chosen=session.chosen_repository,
        run_id=session.told.run_id,
        begun=session.told.begun,
    )
    with watched(meter, f"backup {job}"):
        events.info("backup_begun", job=job)
        report = take_backup(to_back_up, BackupChoice(resume=resume, allow_mixed=allow_mixed))
    for manifest in report.manifests:
        _tell(manifest)
    ended = Outcome.of(job, report.error)
    backups = tuple(manifest.backup_id for manifest in report.manifests)
    session.told.outcomes.append(replace(ended, backups=backups, warnings=report.warnings))
    session.told.manifests += [manifest.summary for manifest in report.manifests]
    if as_json:
        print_document("backup", _document(report))
    else:
        _show(session, report)
    if report.error is not None:
        raise SystemExit(report.error.exit_code)


def _tell(manifest: Manifest) -> None:
    events.info(
        "backup_done",
        job=manifest.job,
        database=manifest.server.database,
        backup=manifest.backup_id,
        consistency=manifest.consistency.value,
        plain_bytes=manifest.plain_bytes,
        stored_bytes=manifest.stored_bytes,
        peak_memory_bytes=manifest.peak_memory_bytes,
        **manifest.metrics,
    )


def _show(session: Session, report: RunReport) -> None:
    if report.manifests:
        session.show(backup_table([manifest.summary for manifest in report.manifests]))
    for manifest in report.manifests:
        for note in manifest.notes:
            session.say(f"note: database '{manifest.server.database}': {note}", WARN)
    for warning in report.warnings:
        session.say(f"warning: {warning}", WARN)
    for failed in report.failures:
        session.say(f"failed: database '{failed.database}': {failed.error.message}", BAD)
        if failed.error.hint:
            session.say(f"hint: {failed.error.hint}")
    if report.without and report.error is not None:
        session.say(f"failed: {report.error.message}", BAD)
        session.say(f"hint: {report.error.hint}")


def _document(report: RunReport) -> Document:
    """The backups of one run; if there is one, its fields also at the top level."""
    only = of_backup(report.manifest.summary) if len(report.manifests) == 1 else {}
    return {
        **only,
        "job": report.job,
        "run_id": report.run_id,
        "backups": [of_backup(manifest.summary) for manifest in report.manifests],
        "failed": [{"database": each.database, **of_error(each.error)} for each in report.failures],
        "without": [{"repository": each.name, **of_error(each.error)} for each in report.without],
        "warnings": list(report.warnings),
    }
