"""`holdfast copy`."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.context import JobName, JsonOption, acting_session_of, print_document
from holdfast.cli.documents import Document
from holdfast.cli.progress import Meter, watched
from holdfast.cli.tables import Table, key, number, words
from holdfast.model.units import size
from holdfast.operations.copy.backups import CopiedBackup, CopyReport, copy as copy_job

To = Annotated[
    str,
    typer.Option("--to", metavar="NAME", help="The repository of the configuration to copy to."),
]


EXAMPLES = """\
# Copy what the repository 'offsite' lacks
holdfast copy shop --to offsite

# The same; print the ids of the backups that were sent
holdfast copy shop --to offsite --json | jq -r '.backups[] | select(.sent > 0) | .backup'

# Then verify the newest copy
holdfast --repository offsite verify shop/latest
"""


def copy(context: typer.Context, job: JobName, *, to: To, as_json: JsonOption = False) -> None:
    """Copy the finished backups of JOB that another repository lacks.

    A backup arrives whole or not at all, byte for byte. The next copy continues one that was
    interrupted: it recognizes existing parts by size and content, never by name alone.
    """
    from holdfast.wiring.jobs import copying  # heavy, as in `Session`

    session = acting_session_of(context)
    job_context = copying(session.settings, job, to=to, chosen=session.chosen_repository)
    meter = Meter()
    with watched(meter, f"copy {job} to {to}"):
        report = copy_job(job, job_context, meter)
    if as_json:
        print_document("copy", {"to": to, **_document(report)})
    else:
        rows = [(each.backup_id, _outcome(each), size(each.sent_bytes)) for each in report.backups]
        session.show(Table((key("BACKUP"), words("OUTCOME"), number("SENT", drop=1)), rows))
        for swept in report.swept:
            session.say(f"removed an unfinished copy: {swept}")
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _outcome(backup: CopiedBackup) -> str:
    if backup.problem:
        return f"not copied: {backup.problem}"
    if backup.was_there:
        return "already there"
    resumed = f", {backup.found} already there" if backup.found else ""
    return f"copied{resumed}"


def _document(report: CopyReport) -> Document:
    return {
        "job": report.job,
        "exit_code": report.exit_code,
        "backups": [
            {
                "backup": each.backup_id,
                "was_there": each.was_there,
                "sent": each.sent,
                "sent_bytes": each.sent_bytes,
                "found": each.found,
                "replaced": each.replaced,
                "problem": each.problem,
                "exit_code": each.exit_code,
            }
            for each in report.backups
        ],
        "swept": list(report.swept),
    }
