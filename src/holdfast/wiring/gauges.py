"""Build from the settings what publishes metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.host_state.metrics import NoGauges, TextfileGauges

if TYPE_CHECKING:
    from holdfast.config.settings import Settings
    from holdfast.ports.host_state import Gauges


def gauges_of(settings: Settings, job: str = "") -> Gauges:
    """The gauges of `job`, which need not be configured, or of no job in particular."""
    found = settings.jobs.get(job)
    if settings.metrics_directory is None:
        return NoGauges()
    return TextfileGauges(
        settings.metrics_directory, overdue_after=found.overdue_after if found else None
    )
