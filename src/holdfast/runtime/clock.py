"""The time of this host, the clock that other modules are given."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The current time in UTC, with its time zone."""
    return datetime.now(UTC)
