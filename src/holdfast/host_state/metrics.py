"""The resources that a run used, as the kernel counts them, and metrics of runs and drills."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.model.errors import ConfigInvalid, SkippedTooOften
from holdfast.model.lazy_dataclass import dataclass
from holdfast.runtime import events
from holdfast.runtime.files import whole_file, write_all

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

    from holdfast.model.backup import Manifest, Part
    from holdfast.model.drill import DrillRecord
    from holdfast.ports.host_state import RunRecord, Verified, WalReach

KIB = 1024
# The monitor runs as another user.
PUBLIC_FILE = 0o644
# No job begins with an underscore.
DRILL, GOOD_DRILL, NOTIFICATIONS = "_drill", "_good-drill", "_notifications"
VERIFY, WAL, ROOM = "_verify", "_wal", "_room"


def peak_memory_bytes() -> int:
    """Resident peak of this process plus that of its largest child, in bytes.

    Linux gives both in KiB (getrusage(2), ru_maxrss). Of children that ran at the same time only
    the largest counts, so this is a lower bound; a unit reports its cgroup's own peak.
    """
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    largest_child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return (own + largest_child) * KIB


def cpu_seconds() -> float:
    """Processor time, user and system, of this process and of its children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


class _Collected:
    """A collector of one metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> list[Metric]:
        return [self._metric]


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What a job is to keep, as its alerts compare it; None where it says nothing.

    `overdue_after` is the age that its newest backup may reach. A restore may take `rto`, and lose
    the changes of `rpo`.
    """

    overdue_after: timedelta | None = None
    rto: timedelta | None = None
    rpo: timedelta | None = None


class NoGauges:
    """Writes no metrics."""

    are_shown = False

    def show_backup(self, manifest: Manifest) -> None: ...

    def show_run(self, run: RunRecord, *, skipped_in_a_row: int) -> None: ...

    def show_drill(
        self, record: DrillRecord, *, exit_code: int, measures_loss: bool = True
    ) -> None: ...

    def show_verified(self, verified: Verified) -> None: ...

    def show_wal(self, reach: WalReach) -> None: ...

    def show_room(self, job: str, free_bytes: int) -> None: ...

    def show_notifications(self, unsent: Mapping[str, int]) -> None: ...

    def show_overdue(self, jobs: Mapping[str, bool]) -> None: ...

    def check(self) -> str:
        return ""


class TextfileGauges:
    """Files for the textfile collector of Prometheus' node exporter, each written whole.

    Each job has a file for its last run, whatever its outcome. Each database has one for its last
    good backup: a failed run must not remove the time of the last good one. In the same way, each
    database has a file for its last drill and one for its last good drill. `state_directory` is the
    folder whose free space is shown.

    No label is called `job`: Prometheus uses that one for its own jobs, and renames others.
    """

    are_shown = True

    def __init__(
        self, folder: Path, *, targets: Targets | None = None, state_directory: Path | None = None
    ) -> None:
        self._folder = folder
        self._targets = targets or Targets()
        self._state_directory = state_directory

    def check(self) -> str:
        """The folder of the metrics; raises `ConfigInvalid` if it cannot be written."""
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise ConfigInvalid(
                f"cannot write metrics into '{self._folder}': the folder does not exist, or this"
                " user or this unit may not write to it",
                hint="make it writable, or leave metrics_directory out; in the inventory it is"
                " backup_runner_metrics_directory, which opens the sandbox too",
            )
        return str(self._folder)

    def show_backup(self, manifest: Manifest) -> None:
        job, database = manifest.job, manifest.server.database
        numbers = {
            "backup_finished_timestamp_seconds": manifest.finished_at.timestamp(),
            "backup_snapshot_timestamp_seconds": manifest.snapshot_at.timestamp(),
            "backup_duration_seconds": manifest.seconds,
            "backup_plain_bytes": manifest.plain_bytes,
            "backup_stored_bytes": manifest.stored_bytes,
            "backup_rows": manifest.rows,
            "backup_parts": len(manifest.parts),
            "backup_workers": manifest.workers,
            "backup_peak_memory_bytes": manifest.peak_memory_bytes,
            **{f"backup_{name}": value for name, value in manifest.metrics.items()},
        }
        tables = [part for part in manifest.parts if part.relation]
        labels = {"backup_job": job, "database": database}
        self._write(_file(job, database), numbers, labels=labels, tables=tables)

    def show_run(self, run: RunRecord, *, skipped_in_a_row: int) -> None:
        numbers = {
            "run_finished_timestamp_seconds": run.finished_at.timestamp(),
            "run_exit_code": run.exit_code,
            "run_ok": float(run.outcome == "ok"),
            "run_suspicious_backups": len(run.facts.get("suspicious", "").split()),
            "run_skipped_in_a_row": skipped_in_a_row,
            "run_overlap_alarm": float(run.exit_code == SkippedTooOften.exit_code),
        }
        numbers |= _seconds("backup_overdue_after_seconds", self._targets.overdue_after)
        if self._state_directory is not None:
            with suppress(OSError):
                numbers["state_free_bytes"] = _free_bytes(self._state_directory)
        self._write(_file(run.job), numbers, labels={"backup_job": run.job})

    def show_verified(self, verified: Verified) -> None:
        numbers = {
            "verify_finished_timestamp_seconds": verified.at.timestamp(),
            "verify_exit_code": verified.exit_code,
            "verify_bad_parts": verified.bad,
            "verify_damaged_backups": verified.damaged_backups,
        }
        self._write(_file(VERIFY, verified.job), numbers, labels={"backup_job": verified.job})

    def show_wal(self, reach: WalReach) -> None:
        numbers = {"wal_checked_timestamp_seconds": reach.at.timestamp(), "wal_gaps": reach.gaps}
        if reach.archived_at is not None:
            numbers["wal_archived_timestamp_seconds"] = reach.archived_at.timestamp()
        self._write(_file(WAL, reach.job), numbers, labels={"backup_job": reach.job})

    def show_room(self, job: str, free_bytes: int) -> None:
        numbers = {"repository_free_bytes": float(free_bytes)}
        self._write(_file(ROOM, job), numbers, labels={"backup_job": job})

    def show_drill(
        self, record: DrillRecord, *, exit_code: int, measures_loss: bool = True
    ) -> None:
        job, database = record.job, record.database
        labels = {"backup_job": job, "database": database}
        last = {
            "drill_finished_timestamp_seconds": record.ended.timestamp(),
            "drill_ok": float(record.passed),
            "drill_exit_code": exit_code,
            "drill_duration_seconds": (record.ended - record.began).total_seconds(),
            **_seconds("drill_rto_seconds", self._targets.rto),
            **_seconds("drill_rpo_seconds", self._targets.rpo),
        }
        self._write(_file(DRILL, job, database), last, labels=labels)
        if not record.passed:
            return
        good = {
            "drill_passed_timestamp_seconds": record.ended.timestamp(),
            "drill_restore_seconds": record.seconds.restore,
            "drill_plain_bytes": record.plain_bytes,
        }
        if record.reached is not None:
            good["drill_reached_timestamp_seconds"] = record.reached.timestamp()
        if measures_loss:
            good |= _seconds("drill_data_loss_seconds", record.loss)
        self._write(_file(GOOD_DRILL, job, database), good, labels=labels)

    def show_notifications(self, unsent: Mapping[str, int]) -> None:
        from prometheus_client import CollectorRegistry
        from prometheus_client.core import CounterMetricFamily

        registry = CollectorRegistry()
        failures = CounterMetricFamily(
            "holdfast_notification_failures",
            "notifications that could not be sent",
            labels=["receiver"],
        )
        for receiver, count in unsent.items():
            failures.add_metric([receiver], count)
        registry.register(_Collected(failures))
        self._publish(NOTIFICATIONS, registry)

    def show_overdue(self, jobs: Mapping[str, bool]) -> None:
        from prometheus_client import CollectorRegistry, Gauge

        registry = CollectorRegistry()
        told = "whether the job has made no good backup for longer than overdue_after"
        gauge = Gauge("holdfast_job_overdue", told, ["backup_job"], registry=registry)
        for job, is_overdue in jobs.items():
            gauge.labels(backup_job=job).set(float(is_overdue))
        self._publish("_overdue", registry)

    def _write(
        self,
        name: str,
        numbers: dict[str, float],
        *,
        labels: dict[str, str],
        tables: Iterable[Part] = (),
    ) -> None:
        # Imported here: loading takes a quarter of the time of a command that writes no metrics.
        from prometheus_client import CollectorRegistry, Gauge

        registry = CollectorRegistry()
        for metric, value in numbers.items():
            gauge = Gauge(f"holdfast_{metric}", metric.replace("_", " "), labels, registry=registry)
            gauge.labels(**labels).set(value)
        for metric, of_table in _by_table(tables).items():
            gauge = Gauge(
                f"holdfast_table_{metric}",
                f"{metric} of a table in the last backup",
                [*labels, "table"],
                registry=registry,
            )
            for table, value in of_table.items():
                gauge.labels(**labels, table=table).set(value)
        self._publish(name, registry)

    def _publish(self, name: str, registry: CollectorRegistry) -> None:
        from prometheus_client import generate_latest

        path = self._folder / f"holdfast_{name[:200]}.prom"
        try:
            with whole_file(path, mode=PUBLIC_FILE) as descriptor:
                write_all(descriptor, generate_latest(registry))
        except OSError as error:
            # A monitor raises its own alarm when the metrics are stale; the backup is still good.
            events.warning("metrics_not_written", path=str(path), error=error.strerror)


def _seconds(name: str, span: timedelta | None) -> dict[str, float]:
    """The metric of a target; nothing where the job has none."""
    return {} if span is None else {name: span.total_seconds()}


def _free_bytes(folder: Path) -> float:
    room = os.statvfs(folder)
    return float(room.f_bavail * room.f_frsize)


def _file(*names: str) -> str:
    """The name of a file; a quoted name holds no '+', so no two lists of names give the same."""
    from urllib.parse import quote

    return "+".join(quote(name, safe="") for name in names)


def _by_table(parts: Iterable[Part]) -> dict[str, dict[str, float]]:
    """Metrics of tables with parts of their own, ranges added up; packed tables are too small."""
    found: dict[str, dict[str, float]] = {"plain_bytes": {}, "stored_bytes": {}, "seconds": {}}
    for part in parts:
        for metric, value in (
            ("plain_bytes", part.plain_bytes),
            ("stored_bytes", part.stored_bytes),
            ("seconds", part.seconds),
        ):
            of_table = found[metric]
            of_table[str(part.relation)] = of_table.get(str(part.relation), 0) + value
    return found
