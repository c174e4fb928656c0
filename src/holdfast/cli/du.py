"""`holdfast du`."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from holdfast.cli.context import (
    JsonOption,
    Session,
    SomeJob,
    end_unseen,
    print_document,
    session_of,
)
from holdfast.cli.documents import Document, of_unseen
from holdfast.cli.tables import Table, key, number, words
from holdfast.model.units import size
from holdfast.operations.usage import JobUsage, usage

COLUMNS = (
    key("JOB"),
    number("BACKUPS", drop=2),
    number("DATA", drop=4),
    number("VALUES", drop=5),
    number("WAL", drop=3),
    number("UNFINISHED", drop=6),
    number("SIZE"),
    words("REPOSITORY", drop=1),
)


EXAMPLES = """\
# The space of every job
holdfast du

# The bytes of one job, as a number
holdfast du shop --json | jq '.jobs[0].bytes'
"""


def du(context: typer.Context, job: SomeJob = None, *, as_json: JsonOption = False) -> None:
    """Show how much space the backups of JOB, or of all jobs, take in their repositories."""
    from holdfast.wiring.reading import repository_of  # heavy, as in `Session`

    session = session_of(context)
    used, unseen = session.of_each_repository(
        job, lambda name: usage(repository_of(session.settings, job or "", chosen=name), job or "")
    )
    found = [(name, each) for name, jobs in used.items() for each in jobs]
    session.require_known(job, holds_something=bool(found))
    if as_json:
        jobs = [_document(each, name) for name, each in found]
        print_document("du", {"jobs": jobs} | of_unseen(unseen))
    else:
        _show_usage(session, found)
        session.tell_unseen(unseen)
    end_unseen(unseen)


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
    session.show(Table(COLUMNS, rows))


def _document(usage: JobUsage, repository: str) -> Document:
    return {
        "job": usage.job,
        "repository": repository,
        "backups": usage.backups,
        "backup_bytes": usage.backup_bytes,
        "blob_bytes": usage.blob_bytes,
        "wal_bytes": usage.wal_bytes,
        "unfinished_bytes": usage.unfinished_bytes,
        "bytes": usage.size_bytes,
        "objects": usage.objects,
    }
