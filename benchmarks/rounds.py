"""Rounds: all contenders in turn, again and again, on a throw-away host that has the data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.contenders import (
    CONFIG_FILE,
    HERE,
    OUT,
    QUICK_SCALE,
    Contender,
    Dataset,
    Phase,
    Sizes,
    Workload,
)
from benchmarks.machine import Watch
from benchmarks.program import project_version
from benchmarks.results import Cost, Measured, PhaseResult, WorkloadResult
from lab import command
from lab.errors import LabError

# Masks the SHA instructions of any x86 processor, in programs that hash by OpenSSL (bit 29 of EBX
# of CPUID leaf 7, OPENSSL_ia32cap(3)).
WITHOUT_SHA = "OPENSSL_ia32cap=:~0x20000000"
ENVIRONMENT = (
    "PATH=/opt/engine/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONPATH=/project/src",
    f"HOME={OUT}",
)
# The tree is not installed there, and `holdfast --version` asks for what an installation says.
METADATA = (
    "cd /opt/engine/lib/python3*/site-packages && mkdir -p holdfast.dist-info"
    ' && printf "Metadata-Version: 2.1\\nName: holdfast\\nVersion: {version}\\n"'
    " > holdfast.dist-info/METADATA"
)
# User, line, and what the line reads; it raises `LabError` where the line fails.
Shell = Callable[..., str]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How often, how much and in which environment."""

    rounds: int
    sizes: Sizes
    is_quick: bool = False
    without_sha: bool = False

    @property
    def mode(self) -> str:
        name, usual = ("quick", QUICK_SCALE) if self.is_quick else ("whole", 1.0)
        return name if self.sizes.scale == usual else f"{name}-x{self.sizes.scale:g}"

    @property
    def environment(self) -> tuple[str, ...]:
        return (*ENVIRONMENT, WITHOUT_SHA) if self.without_sha else ENVIRONMENT

    def times(self, phase: Phase, contender: Contender) -> int:
        """In how many rounds a contender takes part."""
        if phase.once or contender.once:
            return 0 if self.is_quick else 1
        return self.rounds


class Bench:
    """One host on which datasets are loaded one after another, and measured."""

    def __init__(self, shell: Shell, plan: Plan, say: Say) -> None:
        self._shell = shell
        self._plan = plan
        self._say = say
        self.failures: list[str] = []

    def set_up(self, dataset: Dataset) -> None:
        """What all datasets of the host need, once."""
        self._shell("root", f"sh -c '{METADATA.format(version=project_version())}'")
        if dataset.settings:
            self._shell("root", dataset.settings)

    def measured(self, dataset: Dataset) -> Iterator[WorkloadResult]:
        """Load the data, measure its workloads, and drop it; a failure leaves out the rest."""
        self._say(f"{dataset.key}: loading")
        try:
            yield from self._workloads(dataset)
        except LabError as error:
            self._failed(f"{dataset.key}: {error}")
        self._shell(dataset.user, dataset.drop)

    def _workloads(self, dataset: Dataset) -> Iterator[WorkloadResult]:
        self._clear(dataset)
        script = self._plan.sizes.fill((HERE / dataset.script).read_text())
        self._write(dataset, f"{OUT}/load.sql", script)
        self._shell(dataset.user, dataset.load)
        for workload in dataset.workloads:
            self._clear(dataset)
            yield self._workload(workload, dataset)

    def _workload(self, workload: Workload, dataset: Dataset) -> WorkloadResult:
        self._write(dataset, CONFIG_FILE, workload.config)
        if workload.prepare:
            self._shell(dataset.user, workload.prepare)
        with Watch() as watch:
            phases = tuple(self._phase(phase, workload, dataset) for phase in workload.phases)
        if workload.tidy:
            self._shell(dataset.user, workload.tidy)
        return WorkloadResult(
            key=workload.key,
            title=workload.title,
            measured_at=datetime.now(UTC),
            noise=watch.noise,
            phases=tuple(phase for phase in phases if phase.contenders),
        )

    def _phase(self, phase: Phase, workload: Workload, dataset: Dataset) -> PhaseResult:
        """The order is another one in each round: no contender always follows the same one."""
        times = {each.key: self._plan.times(phase, each) for each in phase.contenders}
        costs: dict[str, list[Cost]] = {each.key: [] for each in phase.contenders}
        for number in range(max(times.values())):
            for contender in turned(phase.contenders, by=number):
                if number >= times[contender.key]:
                    continue
                self._say(f"{workload.key} {phase.name} {number + 1}: {contender.name}")
                try:
                    for _ in range(phase.repeats):
                        costs[contender.key].append(self._cost(contender, dataset))
                except LabError as error:
                    self._failed(f"{workload.key} {phase.name}: {contender.name}: {error}")
                    times[contender.key], costs[contender.key] = 0, []
        return PhaseResult(name=phase.name, contenders=_measured(phase.contenders, costs))

    def _failed(self, line: str) -> None:
        """A contender that fails is left out, and the others are measured."""
        self._say(f"FAILED: {line}")
        self.failures.append(line)

    def _cost(self, contender: Contender, dataset: Dataset) -> Cost:
        user = dataset.user
        before = " && ".join(filter(None, (contender.reset, dataset.settle)))
        self._shell(user, before)
        measure = f"python /project/benchmarks/measure.py {contender.command}"
        cost = json.loads(self._shell(user, f"cd {contender.folder} && {measure}"))
        if contender.size:
            size = self._shell(user, f"du -sb {OUT}/{contender.size}")
            cost["stored_bytes"] = int(size.split()[0])
        return Cost(**cost)

    def _clear(self, dataset: Dataset) -> None:
        """An empty folder: a workload must not find what another has stored."""
        folders = " ".join(f"{OUT}/{name}" for name in ("", "state", "repository"))
        self._shell("root", f"rm -rf {OUT} && install -d -m 0700 -o {dataset.user} {folders}")

    def _write(self, dataset: Dataset, path: str, text: str) -> None:
        self._shell(dataset.user, f"cat > {path}", text)


def inside(container: str, plan: Plan) -> Shell:
    """Run shell lines in this container, in the environment that the plan wants."""

    def run(user: str, line: str, feed: str = "") -> str:
        argv = [
            *("podman", "exec", "-i", "--workdir", "/", container, "runuser", "-u", user),
            *("--", "env", *plan.environment, "sh", "-c", line),
        ]
        return command.run(argv, feed=feed.encode())

    return run


def turned(contenders: Sequence[Contender], *, by: int) -> list[Contender]:
    """The contenders in turn, beginning with another one."""
    first = by % len(contenders)
    return [*contenders[first:], *contenders[:first]]


def _measured(
    contenders: Sequence[Contender], costs: Mapping[str, Sequence[Cost]]
) -> tuple[Measured, ...]:
    return tuple(
        Measured(key=each.key, name=each.name, costs=tuple(costs[each.key]))
        for each in contenders
        if costs[each.key]
    )
