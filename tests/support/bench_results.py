"""Results of benchmarks as tests want them, with as few numbers as possible."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from benchmarks.results import (
    Cost,
    Machine,
    Measured,
    Noise,
    PhaseResult,
    Results,
    Version,
    WorkloadResult,
)

FIRST = datetime(2026, 11, 1, tzinfo=UTC)


def cost(seconds: float, *, cpu_seconds: float = 1.0, peak_mb: float = 50) -> Cost:
    return Cost(
        seconds=seconds,
        client_cpu_seconds=cpu_seconds,
        server_cpu_seconds=2.0,
        peak_bytes=round(peak_mb * 1e6),
        peak_tasks=3,
        stored_bytes=7_000_000,
    )


def measured(key: str, *costs: Cost | float) -> Measured:
    return Measured(
        key=key,
        name=f"the {key}",
        costs=tuple(each if isinstance(each, Cost) else cost(each) for each in costs),
    )


def workload(key: str, phase: str, *contenders: Measured) -> WorkloadResult:
    return WorkloadResult(
        key=key,
        title=f"title of {key}",
        measured_at=FIRST,
        noise=Noise(load=0.25, stolen=0.01),
        phases=(PhaseResult(name=phase, contenders=contenders),),
    )


def results(
    *workloads: WorkloadResult, day: int = 0, has_sha: bool = True, mode: str = "whole"
) -> Results:
    return Results(
        version=Version(
            version="1.2.3",
            commit="c" * 40,
            committed_at=FIRST + timedelta(days=day),
            is_modified=False,
        ),
        machine=Machine(processor="a processor", cores=2, memory_bytes=1 << 33, has_sha=has_sha),
        mode=mode,
        rounds=3,
        workloads=workloads,
    )
