"""Priorities for the journal: `journalctl -p err` finds what went wrong, and nothing else.

A line on stderr is of priority `info` there, unless it begins with a number in angle brackets
(sd-daemon(3)).
"""

from __future__ import annotations

import os

STDERR = 2
# syslog(3).
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def prefix(level: str) -> str:
    """What a line of that level begins with; empty where the journal does not read stderr."""
    return f"<{PRIORITIES.get(level, PRIORITIES['info'])}>" if reads_stderr() else ""


def reads_stderr() -> bool:
    """Whether stderr is the stream that systemd has connected to the journal (systemd.exec(5)).

    A child of a service has the variable too, with a stderr that may lead anywhere.
    """
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(STDERR)
    except OSError:
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))
