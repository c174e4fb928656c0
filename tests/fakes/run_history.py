"""The history of runs, in memory."""

from __future__ import annotations

from holdfast.ports.host_state import RunRecord


class MemoryRunHistory:
    """Keeps every record, the newest last."""

    def __init__(self) -> None:
        self.records: list[RunRecord] = []

    def record(self, run: RunRecord) -> None:
        self.records.append(run)

    def last(self, job: str, *, count: int) -> list[RunRecord]:
        newest_first = [run for run in reversed(self.records) if run.job == job]
        return newest_first[:count]
