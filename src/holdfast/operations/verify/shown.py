"""Publish for a monitor what a verification of a job found, and how far its WAL reaches."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.catalog.catalog import LATEST, Catalog
from holdfast.model.errors import HoldfastError
from holdfast.operations.verify.backup import BackupReader
from holdfast.operations.verify.scrub import JobReport, RereadReport
from holdfast.operations.wal.reach import wal_reach
from holdfast.ports.host_state import Gauges, Verified
from holdfast.runtime import events


def show(reader: BackupReader, gauges: Gauges, report: JobReport | RereadReport) -> None:
    """Publish the metrics of a verification; never fails it, and reads nothing for no monitor."""
    if not gauges.are_shown:
        return
    try:
        known = reader.verification_log.damaged(report.job)
        gauges.show_verified(
            Verified(
                job=report.job,
                at=reader.clock(),
                exit_code=report.exit_code,
                bad=len(report.found_bad),
                damaged_backups=len(known.union(report.found_bad, _damaged(report)) - {""}),
            )
        )
        newest = Catalog(reader.repository).find(f"{report.job}/{LATEST}")
        reach = wal_reach(reader.repository, newest, at=reader.clock())
        if reach is not None:
            gauges.show_wal(reach)
    except HoldfastError as error:
        events.warning("metrics_not_measured", job=report.job, problem=error.message)


def _damaged(report: JobReport | RereadReport) -> Iterable[str]:
    return (each.backup_id for each in report.damaged if each.is_backup)
