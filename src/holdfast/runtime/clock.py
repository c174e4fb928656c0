"""The time of this host, for whoever is given a clock."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """In UTC, aware of it."""
    return datetime.now(UTC)
