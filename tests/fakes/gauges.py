"""Metrics for a monitor, in memory."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.model.backup import Manifest
from holdfast.model.drill import DrillRecord
from holdfast.ports.host_state import RunRecord


class MemoryGauges:
    """Obeys `ports.host_state.Gauges`."""

    def __init__(self) -> None:
        self.backups: list[Manifest] = []
        self.drills: list[tuple[DrillRecord, int]] = []
        self.unsent: dict[str, int] = {}
        self.overdue: dict[str, bool] = {}
        self.runs: list[tuple[RunRecord, int]] = []

    def show_backup(self, manifest: Manifest) -> None:
        self.backups.append(manifest)

    def check(self) -> str:
        return ""

    def show_drill(self, record: DrillRecord, *, exit_code: int) -> None:
        self.drills.append((record, exit_code))

    def show_notifications(self, unsent: Mapping[str, int]) -> None:
        self.unsent = dict(unsent)

    def show_overdue(self, jobs: Mapping[str, bool]) -> None:
        self.overdue = dict(jobs)

    def show_run(self, run: RunRecord, *, skipped_in_a_row: int) -> None:
        self.runs.append((run, skipped_in_a_row))
