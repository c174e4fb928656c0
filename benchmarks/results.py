"""What a run has measured, and the files in which it is kept: one a version and kind of run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

FOLDER = Path(__file__).parent / "results"
FORMAT: Literal["holdfast-benchmarks/1"] = "holdfast-benchmarks/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one run of one command took."""

    seconds: float
    client_cpu_seconds: float
    server_cpu_seconds: float
    peak_bytes: int
    peak_tasks: int
    stored_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All rounds of one contender."""

    key: str
    name: str
    costs: tuple[Cost, ...]

    def middle(self, of: Callable[[Cost], float]) -> float:
        """The median over the rounds."""
        return statistics.median(of(cost) for cost in self.costs)

    @property
    def seconds(self) -> float:
        return self.middle(lambda cost: cost.seconds)

    @property
    def cpu_seconds(self) -> float:
        """Of the client; the server's are its own."""
        return self.middle(lambda cost: cost.client_cpu_seconds)

    @property
    def server_cpu_seconds(self) -> float:
        return self.middle(lambda cost: cost.server_cpu_seconds)

    @property
    def peak_bytes(self) -> float:
        """The highest of all rounds: a limit must hold in each."""
        return max(cost.peak_bytes for cost in self.costs)

    @property
    def peak_tasks(self) -> int:
        return max(cost.peak_tasks for cost in self.costs)

    @property
    def stored_bytes(self) -> int | None:
        return self.costs[-1].stored_bytes

    def spread(self, of: Callable[[Cost], float] = lambda cost: cost.seconds) -> float:
        """From the least to the greatest round, as a share of the median."""
        values = [of(cost) for cost in self.costs]
        middle = statistics.median(values)
        return (max(values) - min(values)) / middle if middle else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What else the machine did."""

    load: float | None = None
    """Processes that wanted to run, as an average of the minute before the first round."""
    stolen: float | None = None
    """The share of the processors' time that other guests of the same machine took during it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseResult:
    """The contenders of one phase, ours first."""

    name: str
    contenders: tuple[Measured, ...]

    def find(self, key: str) -> Measured | None:
        return next((each for each in self.contenders if each.key == key), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadResult:
    """One workload; each has a time and noise of its own, as it may be measured again alone."""

    key: str
    title: str
    measured_at: datetime
    noise: Noise
    phases: tuple[PhaseResult, ...]

    def phase(self, name: str) -> PhaseResult | None:
        return next((each for each in self.phases if each.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it was measured."""

    processor: str
    cores: int
    memory_bytes: int
    has_sha: bool
    """Whether client programs had SHA instructions; they may have been masked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Which holdfast was measured."""

    version: str
    commit: str
    committed_at: datetime
    is_modified: bool

    @property
    def name(self) -> str:
        """For file names, in the order of time."""
        moment = self.committed_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        return f"{self.version}-{moment}{'-modified' if self.is_modified else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything measured of one version, in one mode, on one kind of processor."""

    version: Version
    machine: Machine
    mode: str
    """`whole` or `quick`, and the share of the data where it is another one than usual."""
    rounds: int
    workloads: tuple[WorkloadResult, ...] = ()
    format: Literal["holdfast-benchmarks/1"] = FORMAT

    @property
    def kind(self) -> str:
        """Results of one kind can be compared."""
        return f"{self.mode}-{'sha' if self.machine.has_sha else 'no-sha'}"

    @property
    def file_name(self) -> str:
        return f"{self.version.name}-{self.kind}.json"

    def workload(self, key: str) -> WorkloadResult | None:
        return next((each for each in self.workloads if each.key == key), None)

    def with_workload(self, new: WorkloadResult, order: Sequence[str]) -> Results:
        """The same with this workload, in the place of an older result of it."""
        kept = [each for each in self.workloads if each.key != new.key]
        listed = sorted([*kept, new], key=lambda each: order.index(each.key))
        return replace(self, workloads=tuple(listed))


_FILE = TypeAdapter(Results)


def read(path: Path) -> Results:
    """Raises `pydantic.ValidationError` for a file of another format."""
    return _FILE.validate_json(path.read_bytes())


def write(results: Results, folder: Path = FOLDER) -> Path:
    """Replace the file of this version and kind, whole or not at all."""
    path = folder / results.file_name
    folder.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(_FILE.dump_json(results, indent=1) + b"\n")
    return unfinished.replace(path)


def kept(kind: str, folder: Path = FOLDER) -> Iterator[Results]:
    """All kept results of this kind, the newest version first."""
    found = [read(path) for path in folder.glob(f"*-{kind}.json")]
    same = [each for each in found if each.kind == kind]
    yield from sorted(same, key=_when, reverse=True)


def _when(results: Results) -> tuple[datetime, bool]:
    return results.version.committed_at, results.version.is_modified


def of_version(results: Results, folder: Path = FOLDER) -> Results:
    """What is kept already of this version and kind, else these results."""
    path = folder / results.file_name
    return read(path) if path.exists() else results


def first(kind: str, folder: Path = FOLDER) -> Results | None:
    """The oldest kept results of this kind."""
    return next(iter(reversed(list(kept(kind, folder)))), None)


def before(results: Results, folder: Path = FOLDER) -> Results | None:
    """The newest kept results of the same kind that are of an earlier version.

    A workload that they lack is taken from the newest of the versions before that has it.
    """
    earlier = [each for each in kept(results.kind, folder) if _when(each) < _when(results)]
    if not earlier:
        return None
    found = {each.key: each for older in reversed(earlier) for each in older.workloads}
    return replace(earlier[0], workloads=tuple(found.values()))
