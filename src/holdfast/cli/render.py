"""What commands show: tables of values for people, documents for machines, and how far the work is.

Progress is a bar on a terminal, an event every few seconds in the journal.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from holdfast.catalog.catalog import Damaged
from holdfast.cli.context import printable
from holdfast.model.backup import Relation, Server, Summary
from holdfast.model.errors import HoldfastError
from holdfast.runtime import events
from holdfast.runtime.cleanup import periodically

if TYPE_CHECKING:
    from rich.table import Table

Document = dict[str, Any]
"""A JSON object; docs/json.md describes every field."""

STEP = 1024
TERMINAL_SECONDS = 0.2
JOURNAL_SECONDS = 10.0
# Together they fit into a terminal of 80 columns; the name of a backup holds its time.
BACKUP_COLUMNS = ("BACKUP", "ROWS", "SIZE", "STORED", "RATIO", "SECONDS")
# What people copy and paste is never folded.
UNFOLDED = {"BACKUP", "JOB"}
NUMBERS = {"PARTS", "ROWS", "SIZE", "STORED", "RATIO", "SECONDS", "EXPECTED", "FOUND", "BACKUPS"}


def table_of(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Plain columns; those that hold numbers lean to the right."""
    from rich.table import Table  # only for people: a document does not wait for it

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a meter shows at one moment; the total is an estimate until the work ends."""

    total_bytes: int
    done_bytes: int
    parts: int
    done_parts: int
    seconds: float

    @property
    def bytes_per_second(self) -> float:
        return self.done_bytes / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        left_bytes = max(0, self.total_bytes - self.done_bytes)
        return left_bytes / self.bytes_per_second if self.done_bytes else None


class Meter:
    """Counts for `ports.progress.Progress`: workers only add numbers, somebody else draws them."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._began = monotonic()
        self._total_bytes = self._done_bytes = self._parts = self._done_parts = 0

    def begin(self, *, total_bytes: int, parts: int) -> None:
        with self._lock:
            self._began = self._monotonic()
            self._total_bytes, self._parts = total_bytes, parts
            self._done_bytes = self._done_parts = 0

    def advance(self, size_bytes: int) -> None:
        with self._lock:
            self._done_bytes += size_bytes

    def part_done(self, name: str) -> None:
        with self._lock:
            self._done_parts += 1
        events.debug("part_done", part=name)

    def read(self) -> Reading:
        with self._lock:
            return Reading(
                total_bytes=max(self._total_bytes, self._done_bytes),
                done_bytes=self._done_bytes,
                parts=self._parts,
                done_parts=self._done_parts,
                seconds=self._monotonic() - self._began,
            )


@contextmanager
def metered(doing: str) -> Iterator[Meter]:
    """A meter that is shown on stderr while the block runs."""
    meter = Meter()
    if sys.stderr.isatty():
        with _bar(doing) as draw, _every(TERMINAL_SECONDS, lambda: draw(meter.read())):
            yield meter
    else:
        with _every(JOURNAL_SECONDS, lambda: log_reading(doing, meter.read())):
            yield meter


def _every(seconds: float, act: Callable[[], None]) -> AbstractContextManager[None]:
    return periodically(act, pause=lambda: seconds, name="progress")


@contextmanager
def _bar(doing: str) -> Iterator[Callable[[Reading], None]]:
    from rich.console import Console  # for a terminal alone: no timer waits for it
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[parts]}"),
    )
    console = Console(stderr=True, markup=False)
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as progress:
        task = progress.add_task(doing, total=None, parts="")

        def draw(reading: Reading) -> None:
            progress.update(
                task,
                total=reading.total_bytes or None,
                completed=reading.done_bytes,
                parts=_parts(reading),
                refresh=True,
            )

        yield draw


def _parts(reading: Reading) -> str:
    """Nobody knows how many there are before the snapshot is taken."""
    if not reading.parts:
        return "getting ready"
    return f"{reading.done_parts}/{reading.parts} parts"


def log_reading(doing: str, reading: Reading) -> None:
    """One event for the journal, with numbers that a machine can add up, once there are any."""
    if not reading.parts:
        events.info("getting_ready", doing=doing, seconds=round(reading.seconds))
        return
    left = reading.seconds_left
    events.info(
        "progress",
        doing=doing,
        done_bytes=reading.done_bytes,
        total_bytes=reading.total_bytes,
        done_parts=reading.done_parts,
        parts=reading.parts,
        bytes_per_second=round(reading.bytes_per_second),
        seconds_left=None if left is None else round(left),
    )


def of_backup(manifest: Summary) -> Document:
    """One finished backup without its parts."""
    return {
        "backup": manifest.backup_id,
        "job": manifest.job,
        "name": manifest.name,
        "run_id": manifest.run_id,
        "host": manifest.host,
        "engine": manifest.engine,
        "parent": manifest.parent,
        "server": of_server(manifest.server),
        "consistency": manifest.consistency.value,
        "started_at": moment(manifest.started_at),
        "snapshot_at": moment(manifest.snapshot_at),
        "finished_at": moment(manifest.finished_at),
        "seconds": manifest.seconds,
        "parts": manifest.parts,
        "rows": manifest.rows,
        "plain_bytes": manifest.plain_bytes,
        "stored_bytes": manifest.stored_bytes,
        "ratio": round(ratio(manifest), 3),
        "peak_memory_bytes": manifest.peak_memory_bytes,
        "workers": manifest.workers,
        "blobs": manifest.blobs,
        "encryption": manifest.encryption,
        "recipients": list(manifest.recipients),
        "metrics": manifest.metrics,
        "notes": list(manifest.notes),
    }


def of_failed_jobs(errors: Mapping[str, HoldfastError]) -> Document:
    """The jobs that a command on all of them failed for, by their names."""
    return {"failed_jobs": [{"job": name, **of_error(error)} for name, error in errors.items()]}


def of_unseen(errors: Mapping[str, HoldfastError]) -> Document:
    """The repositories that could not be looked into, by their names."""
    return {"unseen": [{"repository": name, **of_error(error)} for name, error in errors.items()]}


def of_error(error: HoldfastError) -> Document:
    return {"error": error.message, "hint": error.hint, "exit_code": error.exit_code}


def of_damaged(damaged: tuple[Damaged, ...]) -> list[Document]:
    return [{"backup": each.backup_id, "problem": each.problem} for each in damaged]


def of_server(server: Server) -> Document:
    return {"kind": server.kind, "version": server.version, "database": server.database}


def of_relation(relation: Relation) -> Document:
    """`schema` is what PostgreSQL calls it; in MySQL it is the database."""
    return {"table_schema": relation.schema, "table": relation.name}


def moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
