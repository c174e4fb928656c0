"""Results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from benchmarks.contenders import START
from benchmarks.results import Measured, PhaseResult, Results, WorkloadResult
from benchmarks.targets import Measure
from benchmarks.verdicts import MB, Change, Verdict, ratio

COLUMNS = (
    *("seconds", "ratio", "spread", "client CPU s", "server CPU s"),
    *("memory", "tasks", "stored"),
)
# The measurement before leaves up to one process that runs, in the average of a minute.
QUIET_LOAD, QUIET_STOLEN = 1.5, 0.05
FORMS = {
    Measure.RATIO: "{:.2f}",
    Measure.CPU_MS: "{:.0f} ms",
    Measure.PEAK_MB: "{:.0f} MB",
}


def of_phase(workload: WorkloadResult, phase: PhaseResult) -> Table:
    """All contenders of one phase; the ratio is our time to theirs."""
    table = _table(f"{workload.title}: {phase.name}", "", *COLUMNS)
    for contender in phase.contenders:
        table.add_row(contender.name, *_cells(phase, contender))
    return table


def ratio_of(phase: PhaseResult, contender: Measured) -> str:
    """Our time to that of the contender; commands that do different things have none."""
    if phase.name == START:
        return ""
    return f"{ratio(phase.contenders[0], contender):.2f}"


def _cells(phase: PhaseResult, contender: Measured) -> list[str]:
    stored = contender.stored_bytes
    return [
        f"{contender.seconds:.2f}",
        ratio_of(phase, contender),
        f"{contender.spread():.0%}" if len(contender.costs) > 1 else "one round",
        f"{contender.cpu_seconds:.2f}",
        f"{contender.server_cpu_seconds:.1f}",
        f"{contender.peak_bytes / MB:.0f} MB",
        str(contender.peak_tasks),
        "" if stored is None else f"{stored / MB:.0f} MB",
    ]


def of_verdicts(results: Results, found: Sequence[Verdict]) -> Table:
    """The one table of all workloads with their targets."""
    kind = "with" if results.machine.has_sha else "without"
    title = f"Targets, on a processor {kind} SHA instructions"
    table = _table(title, "", "target", "measured", "spread", "")
    for verdict in found:
        table.add_row(
            f"{verdict.title}: {verdict.target.phase}",
            verdict.target.wording,
            value_of(verdict),
            f"{verdict.spread:.0%}",
            verdict.word,
            style=None if verdict.is_met else "bold",
        )
    return table


def value_of(verdict: Verdict) -> str:
    """What was measured, in the unit of its target."""
    if verdict.value is None:
        return ""
    return FORMS[verdict.target.measure].format(verdict.value)


def of_changes(found: Sequence[Change], *, before: Results) -> Table:
    """What became slower or faster since an earlier version."""
    table = _table(f"Since {before.version.name}", "", "target", "before", "now", "spread", "")
    for change in found:
        verdict = change.verdict
        table.add_row(
            f"{verdict.title}: {verdict.target.phase}",
            verdict.target.wording,
            FORMS[verdict.target.measure].format(change.before),
            value_of(verdict),
            f"{change.tolerance:.0%}",
            ("slower" if change.is_slower else "faster")
            if verdict.target.measure is not Measure.PEAK_MB
            else ("more" if change.is_slower else "less"),
        )
    return table


def disturbed(results: Results) -> list[str]:
    """The workloads before or during which the machine had more to do than the measurement."""
    return [
        workload.key
        for workload in results.workloads
        if (workload.noise.load or 0) > QUIET_LOAD * results.machine.cores
        or (workload.noise.stolen or 0) > QUIET_STOLEN
    ]


def noise(workload: WorkloadResult) -> str:
    """What else happened on the machine, in words."""
    found = workload.noise
    if found.load is None or found.stolen is None:
        return "other load was not recorded"
    return f"load at the start {found.load:.2f}, time stolen by other guests {found.stolen:.1%}"


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="left" if column in ("target", "") else "right")
    return table
