"""`holdfast snapshot`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.context import JobName, JsonOption, acting_session_of, print_document
from holdfast.cli.documents import Document
from holdfast.operations.wal.snapshot_script import SnapshotReport

With = Annotated[
    Path,
    typer.Option(
        "--with",
        metavar="SCRIPT",
        readable=False,
        help="The program that takes the volume snapshot.",
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        metavar="DIRECTORY",
        readable=False,
        help="The folder for backup_label, tablespace_map and WAL. Default: a new one below the"
        " state directory.",
    ),
]


EXAMPLES = """\
# A btrfs snapshot; labels below the state directory
holdfast snapshot farm --with /etc/holdfast/snapshot-btrfs

# The same, with the labels beside the snapshot
holdfast snapshot farm --with /etc/holdfast/snapshot-btrfs --labels /snapshots/today.labels
"""


def snapshot(
    context: typer.Context,
    job: JobName,
    *,
    script: With,
    labels: Labels = None,
    label: Annotated[
        str, typer.Option(help="The name of the backup in backup_label.")
    ] = "holdfast snapshot",
    as_json: JsonOption = False,
) -> None:
    """Run SCRIPT, which takes a volume snapshot, inside a base backup of JOB's cluster.

    The script finds PGDATA, HOLDFAST_TABLESPACES, HOLDFAST_SESSION and HOLDFAST_LABEL_DIR in its
    environment. docs/snapshots.md has scripts for btrfs, XFS and LVM. If the script fails, the
    backup is ended on the server and nothing is kept.
    """
    from holdfast.operations.wal.snapshot_script import snapshot as take_snapshot
    from holdfast.runtime import clock
    from holdfast.wiring import wal as wiring_wal

    session = acting_session_of(context)
    request = wiring_wal.snapshot_request(
        session.settings, job, script=script.absolute(), labels=labels, label=label
    )
    report = take_snapshot(
        request,
        wiring_wal.bracket(session.settings, job),
        clock=clock.now,
        # Not to stdout, which may carry a document.
        told=sys.stderr.buffer.write,
    )
    if as_json:
        print_document("snapshot", _document(report))
        return
    begun, ended = report.begun, report.ended
    session.say(
        f"snapshot of {job} from {begun.start_lsn} to {ended.stop_lsn}, timeline"
        f" {begun.anchor.timeline}; the script took {report.script_seconds:.1f} s"
    )
    session.say(f"it is only consistent together with {report.labels}")


def _document(report: SnapshotReport) -> Document:
    begun = report.begun
    return {
        "job": report.job,
        "labels": str(report.labels),
        "start_lsn": begun.start_lsn,
        "stop_lsn": report.ended.stop_lsn,
        "timeline": begun.anchor.timeline,
        "system_identifier": begun.anchor.system_identifier,
        "begun_at": begun.begun_at.isoformat(),
        "ended_at": report.ended_at.isoformat(),
        "script_seconds": report.script_seconds,
    }
