"""When systemd will start a job next, and when its calendar says so."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from holdfast.model.errors import HoldfastError, ToolMissing
from holdfast.model.lazy_pattern import regex
from holdfast.model.stored_json import parsed
from holdfast.runtime.bounded_call import call
from holdfast.runtime.process import ChildFailed, output_of

MICROSECONDS = 1_000_000
ANSWER_SECONDS = 3.0
# Of several units, one state each.
_STATE = regex(r"[a-z]+")
# With a time zone other than UTC systemd prints a second line for UTC.
_NEXT = regex(r"(?:Next elapse|\(in UTC\)): (?:\w+ )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC")


def unit_name(job: str, command: str = "backup") -> str:
    return f"holdfast-{command}-{job}"


def _timers(unit: str) -> list[str]:
    """The timers that may start it: that of the role, and an instance of the package's."""
    program, command, job = unit.split("-", 2)
    return [f"{unit}.timer", f"{program}-{command}@{job}.timer"]


def next_run(job: str) -> datetime | None:
    """The next start by the job's timer; None without systemd, a timer or a next time."""
    # Not `systemctl show`: it prints this time only for people, whatever --timestamp says.
    argv = ["systemctl", "list-timers", "--output=json", *_timers(unit_name(job))]
    try:
        timers = parsed(output_of(argv))
        due = min(filter(None, (timer["next"] for timer in timers)), default=None)
    except (ToolMissing, ChildFailed, ValueError, KeyError):
        return None
    return datetime.fromtimestamp(due // MICROSECONDS, UTC) if due else None


def next_by_calendar(schedule: str, *, since: datetime) -> datetime | None:
    """The first time after `since` that the calendar expression means on this host.

    None without systemd, and for an expression that systemd refuses. Unlike `next_run` it has an
    answer while the job runs.
    """
    argv = ["systemd-analyze", "calendar", "--iterations=1"]
    said = _said([*argv, f"--base-time=@{int(since.timestamp())}", "--", schedule])
    found = _NEXT.search(said)
    return datetime.fromisoformat(f"{found[1]}+00:00") if found else None


def is_waiting(unit: str) -> bool | None:
    """Whether a timer of that unit is active; None without a running systemd."""
    said = _said(["systemctl", "show", "--property=ActiveState", "--value", *_timers(unit)])
    states = [
        {"active": True, "inactive": False, "failed": False}.get(s) for s in _STATE.findall(said)
    ]
    return None if not states or None in states else any(states)


def _said(argv: list[str]) -> str:
    """The output of a program of systemd; empty if it fails, or takes too long."""
    # Its words are read, so they must be English.
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        called = call(argv, env=env, timeout_seconds=ANSWER_SECONDS)
    except HoldfastError:
        return ""
    return called.output if called.status == 0 and called.in_time else ""
