"""The tables of docs/benchmarks.md against stock tools, written from the kept results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.results import FOLDER, Measured, PhaseResult, Results, WorkloadResult, first, kept
from benchmarks.tables import ratio_of, value_of
from benchmarks.verdicts import MB, Verdict, verdicts

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
BEGIN = "<!-- scripts/bench --document writes what follows, from benchmarks/results -->"
END = "<!-- what scripts/bench --document writes ends here -->"
WITH, WITHOUT = "with SHA instructions", "without"
# A quick run is shown only as long as there is no whole one.
MODES = ("whole", "quick")


def rewrite(page: Path = PAGE, folder: Path = FOLDER) -> None:
    """Replace what stands between the two marks; the rest of the page is written by people."""
    page.write_text(with_tables(page.read_text(), newest(folder), oldest(folder)))


def newest(folder: Path = FOLDER) -> list[Results]:
    """The newest results of each kind of processor, in the most thorough mode that there is."""
    found = [
        next((run for mode in MODES for run in _complete(f"{mode}-{kind}", folder)), None)
        for kind in ("sha", "no-sha")
    ]
    return [run for run in found if run is not None]


def _complete(kind: str, folder: Path) -> list[Results]:
    """Those with the most workloads, the newest first; a modified tree is nobody's version."""
    runs = [run for run in kept(kind, folder) if not run.version.is_modified]
    return sorted(runs, key=lambda run: len(run.workloads), reverse=True)


def oldest(folder: Path = FOLDER) -> Results | None:
    """The first results that are kept of the kind that is shown first, to show both."""
    return next((first(run.kind, folder) for run in newest(folder)), None)


def with_tables(text: str, runs: Sequence[Results], before: Results | None = None) -> str:
    """The page with new tables; raises `ValueError` if the page has lost its marks."""
    head, _, rest = text.partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        raise ValueError(f"cannot rewrite {PAGE.name}: it lacks the line '{BEGIN}' or '{END}'")
    return f"{head}{BEGIN}\n\n" + "\n".join(lines(runs, before)) + f"\n{END}{tail}"


def lines(runs: Sequence[Results], before: Results | None) -> Iterator[str]:
    """Where it was measured, all targets, and then each workload."""
    if not runs:
        yield "No results are kept yet.\n"
        return
    is_older = before is not None and before.version != runs[0].version
    compared = [*runs, before] if before and is_older else list(runs)
    yield from (_about(run) for run in compared)
    yield ""
    yield from _targets(compared, shown=len(runs))
    for workload in runs[0].workloads:
        yield from _workload(workload, runs)


def _about(run: Results) -> str:
    machine, rounds = run.machine, "one round" if run.rounds == 1 else f"{run.rounds} rounds"
    began = min(workload.measured_at for workload in run.workloads)
    return (
        f"- A {run.mode} run {_kind(run)}, {began:%d %B %Y}: holdfast {_version(run)}, "
        f"{machine.cores} cores of {machine.processor}, {rounds}. {_noise(run)}."
    )


def _version(run: Results) -> str:
    return f"{run.version.version} of {run.version.committed_at:%d %B %Y, %H:%M}"


def _noise(run: Results) -> str:
    noises = [workload.noise for workload in run.workloads]
    loads = [noise.load for noise in noises if noise.load is not None]
    stolen = [noise.stolen for noise in noises if noise.stolen is not None]
    if not loads or not stolen:
        return "Other load was not recorded"
    return (
        f"Load before the workloads {min(loads):.1f} to {max(loads):.1f}; "
        f"other guests took at most {max(stolen):.0%} of the processors' time"
    )


def _kind(run: Results) -> str:
    return WITH if run.machine.has_sha else f"{WITHOUT} SHA instructions"


def _targets(runs: Sequence[Results], *, shown: int) -> Iterator[str]:
    """A column for each run; what follows the first `shown` is an older version."""
    found = [{verdict.target: verdict for verdict in verdicts(run)} for run in runs]
    count = [_count(list(run.values())) for run in found]
    told = ", ".join(f"{met} {_kind(run)}" for met, run in zip(count, runs[:shown], strict=False))
    yield f"Targets met: {told}. All ratios are holdfast's wall time to the other's.\n"
    columns = [WITH if run.machine.has_sha else WITHOUT for run in runs[:shown]]
    columns += [f"{_kind(run)}, before" for run in runs[shown:]]
    yield f"| | target | {' | '.join(columns)} |"
    yield f"|---|---|{'---|' * len(runs)}"
    for target, verdict in found[0].items():
        cells = [_verdict(run.get(target)) for run in found]
        cells = [f"{verdict.title}: {target.phase}", target.wording, *cells]
        yield _line(cells)
    yield ""


def _count(found: Sequence[Verdict]) -> str:
    measured = [verdict for verdict in found if verdict.value is not None]
    return f"{sum(verdict.is_met for verdict in measured)} of {len(measured)}"


def _verdict(verdict: Verdict | None) -> str:
    if verdict is None or verdict.value is None:
        return "not measured"
    return f"{value_of(verdict)} {'met' if verdict.is_met else '**missed**'}"


def _workload(workload: WorkloadResult, runs: Sequence[Results]) -> Iterator[str]:
    """The costs of the first run, and beside them the seconds and ratios of the others."""
    others = [found for run in runs[1:] if (found := run.workload(workload.key))]
    yield f"**{workload.title}**:\n"
    beside = "".join(f" seconds {WITHOUT} | ratio |" for _ in others)
    yield (
        "| | seconds | ratio | spread | client CPU s | server CPU s | peak memory | stored |"
        f"{beside}"
    )
    yield f"|---|{'---|' * (7 + 2 * len(others))}"
    for phase in workload.phases:
        peers = [same for other in others if (same := other.phase(phase.name))]
        for contender in phase.contenders:
            yield _row(phase, contender, peers, missing=len(others) - len(peers))
    yield ""


def _row(
    phase: PhaseResult, contender: Measured, others: Sequence[PhaseResult], *, missing: int
) -> str:
    stored = contender.stored_bytes
    cells = [
        f"{phase.name}: {contender.name}",
        *_wall(phase, contender),
        f"{contender.spread():.0%}" if len(contender.costs) > 1 else "one round",
        f"{contender.cpu_seconds:.2f}",
        f"{contender.server_cpu_seconds:.1f}",
        f"{contender.peak_bytes / MB:.0f} MB",
        "" if stored is None else f"{stored / MB:,.0f} MB",
    ]
    for other in others:
        same = other.find(contender.key)
        cells += _wall(other, same) if same else ["", ""]
    return _line([*cells, *["", ""] * missing])


def _wall(phase: PhaseResult, contender: Measured) -> list[str]:
    return [f"{contender.seconds:.2f}", ratio_of(phase, contender)]


def _line(cells: Sequence[str]) -> str:
    """One row; a bar inside a cell would end it."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
