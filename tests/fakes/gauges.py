"""Metrics for a monitor, in memory."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.model.backup import Manifest
from holdfast.model.drill import DrillRecord
from holdfast.ports.host_state import RunRecord, Verified, WalReach


class MemoryGauges:
    """Obeys `ports.host_state.Gauges`."""

    are_shown = True

    def __init__(self) -> None:
        self.backups: list[Manifest] = []
        self.drills: list[tuple[DrillRecord, int]] = []
        self.unsent: dict[str, int] = {}
        self.overdue: dict[str, bool] = {}
        self.runs: list[tuple[RunRecord, int]] = []
        self.verified: list[Verified] = []
        self.wal: list[WalReach] = []
        self.room: dict[str, int] = {}

    def show_backup(self, manifest: Manifest) -> None:
        self.backups.append(manifest)

    def check(self) -> str:
        return ""

    def show_drill(
        self, record: DrillRecord, *, exit_code: int, measures_loss: bool = True
    ) -> None:
        self.drills.append((record, exit_code))

    def show_notifications(self, unsent: Mapping[str, int]) -> None:
        self.unsent = dict(unsent)

    def show_overdue(self, jobs: Mapping[str, bool]) -> None:
        self.overdue = dict(jobs)

    def show_run(self, run: RunRecord, *, skipped_in_a_row: int) -> None:
        self.runs.append((run, skipped_in_a_row))

    def show_verified(self, verified: Verified) -> None:
        self.verified.append(verified)

    def show_wal(self, reach: WalReach) -> None:
        self.wal.append(reach)

    def show_room(self, job: str, free_bytes: int) -> None:
        self.room[job] = free_bytes
