"""A shop where time stands still: the same database, clock and names in each run.

So the output of a command, on a terminal or as a document, can be compared with a recorded one.
"""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import holdfast
from holdfast.cli import main
from holdfast.cli.progress import Meter
from holdfast.config.sources import PostgresSettings
from holdfast.host_state.metrics import cpu_seconds, peak_memory_bytes
from holdfast.limits.budget import TaskLimits, live_limits
from holdfast.model.backup import PartPlan, Relation, Server
from holdfast.model.restore import Restored, StoredParts
from holdfast.ports.run import Progress
from holdfast.ports.source import SourcePlan
from holdfast.ports.target import RestoreRequest
from holdfast.runtime import kernel_calls
from holdfast.runtime.clock import now
from holdfast.wiring import sources as wiring_sources
from tests.fakes import source as fakes
from tests.fakes.source import FakeSnapshot, FakeSource, FakeTable, FakeTarget

BEGAN = datetime(2026, 11, 20, 2, tzinfo=UTC)
SERVER = Server(kind="postgres", version="17.2", database="shop")
ROW_BYTES = 64 << 10
# A server's statistics are seldom right: a bar must end full nevertheless.
ESTIMATE = 1.5
CONFIG = """\
state_directory: {folder}/state
repositories:
  main: {{kind: local, path: {folder}/repository}}
  offsite: {{kind: local, path: {folder}/offsite}}
jobs:
  shop:
    source: {{kind: postgres, dsn: "dbname=shop"}}
    repository: main
    max_concurrent_processes: 2
    retention: {{last: 7}}
"""


def shop_tables() -> tuple[FakeTable, ...]:
    """Two tables of some MiB, which compress to a third, and a small one."""
    return (_table("orders", 288), _table("events", 480), _table("currencies", 1, row_bytes=3000))


def _table(name: str, rows: int, *, row_bytes: int = ROW_BYTES) -> FakeTable:
    noise = _noise(name)
    dots = b"." * (row_bytes * 3 // 4)
    texts = (noise(row_bytes // 8).hex().encode() + dots for _ in range(rows))
    return FakeTable(relation=Relation(schema="public", name=name), rows=tuple(texts))


def _noise(seed: str) -> Callable[[int], bytes]:
    """Incompressible bytes, the same for each `seed`."""
    return Random(seed).randbytes  # noqa: S311 - nothing is kept secret with it


class StillClock:
    """Shows one time, and nine seconds later once the work itself has begun."""

    def __init__(self, at: datetime) -> None:
        self.at = at
        self.is_moving = False
        self._seconds = 0.0

    def pass_by(self) -> None:
        self._seconds = 9.0

    def now(self) -> datetime:
        return self.at + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        return self._seconds

    def cpu_seconds(self) -> float:
        return self._seconds / 2


class ShopTarget(FakeTarget):
    """A database to restore into."""

    clock: StillClock

    def restore(self, request: RestoreRequest, stored: StoredParts, progress: Progress) -> Restored:
        self.clock.pass_by()
        return super().restore(request, stored, progress)


class ShopSource(FakeSource):
    """Claims to be PostgreSQL, and overestimates the sizes of its tables."""

    engine = "native"
    clock: StillClock

    def plan(self) -> SourcePlan:
        found = super().plan()
        tables = [
            replace(
                each,
                estimated_bytes=round(each.estimated_bytes * ESTIMATE),
                method="copy",
                reason="read whole, in one COPY",
            )
            for each in found.tables
        ]
        return replace(found, server=SERVER, tables=tuple(tables))

    @contextmanager
    def open(self, **options: Any) -> Iterator[FakeSnapshot]:
        with super().open(**options) as snapshot:
            snapshot.server = replace(SERVER, database=self.name)
            snapshot.taken_at = self.clock.at
            self.clock.pass_by()
            yield snapshot


@dataclass
class Shop:
    """The shop's folder, and the tables that the next run finds."""

    folder: Path
    tables: tuple[FakeTable, ...] = ()
    runs: int = 0

    def __post_init__(self) -> None:
        self.tables = self.tables or shop_tables()
        for name in ("state", "repository", "offsite"):
            (self.folder / name).mkdir(parents=True)
        self.config.write_text(CONFIG.format(folder=self.folder))

    @property
    def config(self) -> Path:
        return self.folder / "holdfast.yaml"

    def program(self, *arguments: str, at: timedelta = timedelta(0)) -> Callable[[], None]:
        """A function that runs `holdfast ARGUMENTS` in a child, `at` after the first run."""
        _load_everything()
        self.runs += 1
        number = self.runs

        def run() -> None:
            clock = StillClock(BEGAN + at)
            _stand_still(clock, number)
            source, target = ShopSource(*self.tables), ShopTarget(name="postgresql:///shop_check")
            source.clock = target.clock = clock
            wiring_sources.SOURCES[PostgresSettings] = lambda *_: source
            wiring_sources.TARGETS["postgresql"] = {"postgres": lambda *_: target}
            sys.argv = ["holdfast", "--config", str(self.config), *arguments]
            main.main()

        return run


@cache
def _load_everything() -> None:
    """Load all modules now, so that a later import does not escape the fixed clock."""
    for module in pkgutil.walk_packages(holdfast.__path__, "holdfast."):
        importlib.import_module(module.name)


def _stand_still(clock: StillClock, number: int) -> None:
    """Replace clocks and names; only in a child process, as nothing is restored."""
    for real, still in (
        (now, clock.now),
        (live_limits, lambda: TaskLimits(cpus=4)),
        (peak_memory_bytes, lambda: 61 << 20),
        (cpu_seconds, clock.cpu_seconds),
    ):
        _replace(real, still)
    for each in _ours("holdfast.operations"):
        if getattr(each, "time", None) is time:
            each.time = SimpleNamespace(
                monotonic=clock.monotonic, perf_counter=clock.monotonic, sleep=time.sleep
            )
    _watch(Meter, clock)
    _set(fakes, _plans=_overestimated(vars(fakes)["_plans"]))
    ids = itertools.count(1)

    def token_hex(size: int | None = None) -> str:
        return f"{number:04x}{next(ids):04x}".ljust(2 * (size or 32), "a")

    _set(secrets, token_hex=token_hex)
    _set(kernel_calls, host_name=lambda: "db1", token_hex=token_hex)
    _set(socket, gethostname=lambda: "db1")


def _overestimated(plans: Callable[..., Sequence[PartPlan]]) -> Callable[..., list[PartPlan]]:
    def found(tables: Sequence[FakeTable]) -> list[PartPlan]:
        return [
            replace(each, estimated_bytes=round(each.estimated_bytes * ESTIMATE))
            for each in plans(tables)
        ]

    return found


def _set(module: Any, **attributes: Any) -> None:
    vars(module).update(attributes)


def _watch(meter: Any, clock: StillClock) -> None:
    """Start a bar's clock with the first byte, whichever worker reads it."""
    advance = meter.advance

    def advanced(self: Meter, size_bytes: int) -> None:
        clock.is_moving = True
        advance(self, size_bytes)

    meter.advance = advanced
    meter.__init__.__kwdefaults__["monotonic"] = lambda: 9.0 if clock.is_moving else 0.0


def _replace(real: object, still: object) -> None:
    for module in _ours("holdfast"):
        for name, value in list(vars(module).items()):
            if value is real:
                setattr(module, name, still)


def _ours(package: str) -> list[Any]:
    return [each for name, each in list(sys.modules.items()) if name.startswith(package)]
