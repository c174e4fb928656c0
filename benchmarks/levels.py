"""`scripts/bench levels`: what each zstd level costs and saves on data of several kinds.

The stage of the pipeline compresses them, in its own chunks; CPU seconds, so other load of the
machine matters little. Throughput and size are relative to those of the first level.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import level_data
from benchmarks.contenders import HERE
from benchmarks.level_cluster import files_of_a_cluster
from holdfast.model.backup import Codec
from holdfast.pipeline.compression import CHUNK_BYTES, CompressZstd, decompress

LEVELS = (1, -1, 2, 3, 6)
ROUNDS = 3
MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One kind of data at one level."""

    plain_bytes: int
    stored_bytes: int
    cpu_seconds: float
    restore_cpu_seconds: float


def main(argv: list[str]) -> int:
    """One row a kind and level; the kinds are made one after another to save memory."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench levels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--inventory", type=Path, default=HERE / "inventory")
    parser.add_argument(
        "--without-cluster", action="store_true", help="start no host for a cluster's files"
    )
    asked = parser.parse_args(argv)
    console = Console(highlight=False, width=120)
    makers = dict(level_data.kinds())
    if not asked.without_cluster:
        makers["files of a PostgreSQL cluster"] = lambda: files_of_a_cluster(asked.inventory)
    table = _table()
    for kind, make in makers.items():
        console.print(f"  {kind}")
        _rows(table, kind, measured(make()))
    console.print(table)
    return 0


def measured(content: bytes) -> Mapping[int, Outcome]:
    """Each level in turn, in rounds; the least of the rounds counts."""
    found: dict[int, Outcome] = {}
    for _ in range(ROUNDS):
        for level in LEVELS:
            now = _once(content, level)
            before = found.get(level, now)
            found[level] = Outcome(
                plain_bytes=len(content),
                stored_bytes=now.stored_bytes,
                cpu_seconds=min(now.cpu_seconds, before.cpu_seconds),
                restore_cpu_seconds=min(now.restore_cpu_seconds, before.restore_cpu_seconds),
            )
    return found


def _once(content: bytes, level: int) -> Outcome:
    stored: list[bytes] = []

    def compress() -> None:
        stage = CompressZstd(level)
        view = memoryview(content)
        for start in range(0, len(content), CHUNK_BYTES):
            stored.extend(bytes(each) for each in stage.feed(view[start : start + CHUNK_BYTES]))
        stored.extend(bytes(each) for each in stage.finish())

    def restore() -> None:
        for _ in decompress(stored, Codec.ZSTD):
            pass

    return Outcome(
        plain_bytes=len(content),
        cpu_seconds=_cpu(compress),
        stored_bytes=sum(map(len, stored)),
        restore_cpu_seconds=_cpu(restore),
    )


def _cpu(act: Callable[[], None]) -> float:
    began = time.thread_time()
    act()
    return time.thread_time() - began


def _table() -> Table:
    table = Table(title="zstd levels, one thread", title_justify="left")
    table.add_column("")
    for column in ("level", "MB/s of CPU", "stored", "time to first", "size to first", "restore"):
        table.add_column(column, justify="right")
    return table


def _rows(table: Table, kind: str, outcomes: Mapping[int, Outcome]) -> None:
    base = outcomes[LEVELS[0]]
    for level, each in outcomes.items():
        table.add_row(
            f"{kind}, {each.plain_bytes / MB:.0f} MB" if level == LEVELS[0] else "",
            str(level),
            f"{each.plain_bytes / MB / each.cpu_seconds:.0f}",
            f"{each.stored_bytes / each.plain_bytes:.1%}",
            f"{each.cpu_seconds / base.cpu_seconds:.2f}",
            f"{each.stored_bytes / base.stored_bytes:.3f}",
            f"{each.plain_bytes / MB / each.restore_cpu_seconds:.0f} MB/s",
            end_section=level == LEVELS[-1],
        )
