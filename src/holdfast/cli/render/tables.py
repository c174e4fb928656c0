"""Values as people read them: sizes, ages, and tables of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from rich.table import Table

from holdfast.cli.context import printable
from holdfast.model.backup import Summary

STEP = 1024
# Together they fit into a terminal of 80 columns; the name of a backup holds its time.
BACKUP_COLUMNS = ("BACKUP", "ROWS", "SIZE", "STORED", "RATIO", "SECONDS")
# What people copy and paste is never folded.
UNFOLDED = {"BACKUP", "JOB"}
NUMBERS = {"PARTS", "ROWS", "SIZE", "STORED", "RATIO", "SECONDS", "EXPECTED", "FOUND", "BACKUPS"}


def table_of(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Plain columns; those that hold numbers lean to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in NUMBERS else "left",
            overflow="fold",
            no_wrap=column in UNFOLDED,
        )
    for row in rows:
        table.add_row(*(printable(cell) for cell in row))
    return table


def backup_row(manifest: Summary) -> tuple[str, ...]:
    return (
        manifest.backup_id,
        str(manifest.rows),
        size(manifest.plain_bytes),
        size(manifest.stored_bytes),
        f"{ratio(manifest):.2f}",
        f"{manifest.seconds:.1f}",
    )


def ratio(manifest: Summary) -> float:
    """How many times smaller the stored bytes are; 1 where there is nothing to compare."""
    return manifest.plain_bytes / manifest.stored_bytes if manifest.stored_bytes else 1.0


def encryption_line(recipients: Sequence[str]) -> str:
    return f"age, for {', '.join(recipients)}" if recipients else "none"


def size(count: int | None) -> str:
    if count is None:
        return "unknown"
    value, unit = float(count), "B"
    for bigger in ("KiB", "MiB", "GiB", "TiB"):
        if value < STEP:
            break
        value, unit = value / STEP, bigger
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def time_of(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def span(length: timedelta) -> str:
    """The two biggest units: `3d 4h`, `12m 30s`."""
    seconds = max(0, int(length.total_seconds()))
    words: list[str] = []
    for unit, unit_seconds in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, unit_seconds)
        if count or (unit == "s" and not words):
            words.append(f"{count}{unit}")
    return " ".join(words[:2])
