"""When systemd will start a job next."""

from __future__ import annotations

from datetime import UTC, datetime

from holdfast.errors import ToolMissing
from holdfast.process import ChildFailed, output_of


def unit_name(job: str) -> str:
    return f"holdfast-backup-{job}"


def next_run(job: str) -> datetime | None:
    """The next time of the job's timer; None where there is no systemd, no timer, or no time."""
    argv = [
        "systemctl",
        "show",
        "--timestamp=unix",
        "--property=NextElapseUSecRealtime",
        "--value",
        f"{unit_name(job)}.timer",
    ]
    try:
        answer = output_of(argv).strip()
    except (ToolMissing, ChildFailed):
        return None
    seconds = answer.removeprefix("@")
    return datetime.fromtimestamp(int(seconds), UTC) if seconds.isdigit() else None
