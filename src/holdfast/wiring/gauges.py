"""Build from the settings what publishes metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.host_state.metrics import NoGauges, Targets, TextfileGauges

if TYPE_CHECKING:
    from holdfast.config.settings import Settings
    from holdfast.ports.host_state import Gauges


def gauges_of(settings: Settings, job: str = "") -> Gauges:
    """The gauges of `job`, which need not be configured, or of no job in particular."""
    found = settings.jobs.get(job)
    if settings.metrics_directory is None:
        return NoGauges()
    if found is None:
        targets = Targets()
    else:
        drill = found.drill
        targets = Targets(overdue_after=found.overdue_after, rto=drill.rto, rpo=drill.rpo)
    return TextfileGauges(
        settings.metrics_directory, targets=targets, state_directory=settings.state_directory
    )
