"""When systemd will start a job next."""

from __future__ import annotations

from datetime import UTC, datetime

from holdfast.model.errors import ToolMissing
from holdfast.model.stored_json import parsed
from holdfast.runtime.process import ChildFailed, output_of

MICROSECONDS = 1_000_000


def unit_name(job: str) -> str:
    return f"holdfast-backup-{job}"


def next_run(job: str) -> datetime | None:
    """The next start by the job's timer; None without systemd, a timer or a next time."""
    # Not `systemctl show`: it prints this time only for people, whatever --timestamp says.
    argv = ["systemctl", "list-timers", "--output=json", f"{unit_name(job)}.timer"]
    try:
        timers = parsed(output_of(argv))
        due = next((timer["next"] for timer in timers), None)
    except (ToolMissing, ChildFailed, ValueError, KeyError):
        return None
    return datetime.fromtimestamp(due // MICROSECONDS, UTC) if due else None
