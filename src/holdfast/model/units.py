"""Numbers for people: bytes in binary units, durations and counted nouns."""

from __future__ import annotations

from datetime import timedelta

STEP = 1024
SPANS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def size(count: int | None) -> str:
    """`48.0 MiB`: bytes in text for people; JSON documents hold plain numbers."""
    if count is None:
        return "unknown"
    value, unit = float(count), "B"
    for bigger in ("KiB", "MiB", "GiB", "TiB"):
        if value < STEP:
            break
        value, unit = value / STEP, bigger
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def span(length: timedelta) -> str:
    """The two biggest units: `3d 4h`, `12m 30s`."""
    return " ".join(_units(length)[:2])


def ago(length: timedelta) -> str:
    """The biggest unit alone: `3d ago`."""
    return f"{_units(length)[0]} ago"


def _units(length: timedelta) -> list[str]:
    seconds = max(0, int(length.total_seconds()))
    words: list[str] = []
    for unit, unit_seconds in SPANS:
        count, seconds = divmod(seconds, unit_seconds)
        if count or (unit == "s" and not words):
            words.append(f"{count}{unit}")
    return words


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 table`, `2 tables`, `0 tables`."""
    return f"{count} {noun}" if count == 1 else f"{count} {plural or noun + 's'}"
