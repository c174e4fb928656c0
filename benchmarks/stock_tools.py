"""`scripts/bench [WORKLOAD ...]`: backup and restore against stock tools, with targets.

Contenders run in turn on throw-away hosts, and medians count. The results are kept in
`benchmarks/results`, one file a version and kind of run; a later run is compared with them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path

from rich.console import Console

from benchmarks import choice, document, machine, results, tables
from benchmarks.contenders import HERE, QUICK_SCALE, Dataset, Sizes
from benchmarks.program import project_version
from benchmarks.results import Results, Version
from benchmarks.rounds import Bench, Plan, inside
from benchmarks.verdicts import changes, verdicts
from lab import command, fleet, hosts, project
from lab.fleet import Fleet
from lab.state import PROJECT

WIDTH = 150
EXAMPLES = """\
examples:
  scripts/bench                          all workloads, three rounds, about 45 minutes
  scripts/bench --quick                  a fifth of the data, less than 10 minutes
  scripts/bench --without-sha postgres   one workload, as on a processor without SHA instructions
  scripts/bench --document               write the kept results into docs/benchmarks.md
other measurements:
  scripts/bench levels | upload | catalog | files | fleet
"""


def main(argv: list[str]) -> int:
    """Measure what was asked for, keep it, and tell what misses its target or became slower."""
    asked = _parser().parse_args(argv)
    if asked.document:
        document.rewrite()
        return 0
    sizes = Sizes(scale=asked.scale or (QUICK_SCALE if asked.quick else 1.0))
    unknown = [name for name in asked.workloads if name not in choice.names(sizes)]
    if unknown:
        known = ", ".join(choice.names(sizes))
        _parser().error(f"unknown workload '{unknown[0]}'; known are {known}")
    plan = Plan(
        rounds=asked.rounds, sizes=sizes, is_quick=asked.quick, without_sha=asked.without_sha
    )
    console = Console(highlight=False, width=WIDTH)
    datasets = choice.chosen(asked.workloads, sizes)
    done, failures = _run(datasets, plan, asked.inventory, console=console)
    _conclude(done, console)
    for line in failures:
        console.print(f"FAILED: {line}", style="bold", markup=False, soft_wrap=True)
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = ", ".join(choice.names(Sizes()))
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"one of {known}")
    parser.add_argument("--rounds", type=int, default=3, help="of each contender (default: 3)")
    parser.add_argument("--quick", action="store_true", help="less data, and no slow peers")
    parser.add_argument("--scale", type=float, help="this share of the data, to try the harness")
    parser.add_argument(
        "--without-sha",
        action="store_true",
        help="mask the processor's SHA instructions in all client programs",
    )
    parser.add_argument(
        "--inventory", type=Path, default=HERE / "inventory", help="the throw-away hosts to use"
    )
    parser.add_argument(
        "--document", action="store_true", help="only rewrite the tables of docs/benchmarks.md"
    )
    return parser


def _run(
    datasets: Sequence[Dataset], plan: Plan, inventory: Path, *, console: Console
) -> tuple[Results, list[str]]:
    """Each dataset on its own, one after another: nothing else should run on the machine."""
    done = results.of_version(
        Results(
            version=version(),
            machine=machine.describe(without_sha=plan.without_sha),
            mode=plan.mode,
            rounds=plan.rounds,
        )
    )
    failures: list[str] = []
    fleet_of_hosts = fleet.read(inventory)
    for host, listed in groupby(datasets, key=lambda data: data.host):
        try:
            hosts.up(fleet_of_hosts, limit=[host])
            bench = _bench(host, fleet_of_hosts, plan, console)
            done = _on_host(list(listed), bench, done, console)
            failures += bench.failures
        finally:
            hosts.down(fleet_of_hosts, limit=[host])
    return done, failures


def _bench(host: str, fleet_of_hosts: Fleet, plan: Plan, console: Console) -> Bench:
    container = fleet_of_hosts.host(host).container(fleet_of_hosts.network)
    project.install(container)

    def say(line: str) -> None:
        console.print(f"  {line}", markup=False, soft_wrap=True)

    return Bench(inside(container, plan), plan, say)


def _on_host(datasets: Sequence[Dataset], bench: Bench, done: Results, console: Console) -> Results:
    """Kept after each workload: a run that is stopped has not been for nothing."""
    bench.set_up(datasets[0])
    order = choice.names(Sizes())
    for dataset in datasets:
        for workload in bench.measured(dataset):
            done = done.with_workload(workload, order)
            results.write(done)
            console.print(f"{workload.title}: {tables.noise(workload)}")
            for phase in workload.phases:
                console.print(tables.of_phase(workload, phase))
    return done


def _conclude(done: Results, console: Console) -> None:
    console.print(tables.of_verdicts(done, verdicts(done)))
    if loaded := tables.disturbed(done):
        console.print(f"the machine was not quiet, so repeat: {', '.join(loaded)}", style="bold")
    before = results.before(done)
    if before is None:
        console.print("no results of an earlier version to compare with")
    elif found := changes(done, before):
        console.print(tables.of_changes(found, before=before))
    else:
        console.print(f"nothing became slower or faster than the rounds vary since "
                      f"{before.version.name}")  # fmt: skip
    console.print(f"kept in {results.FOLDER / done.file_name}")


def version() -> Version:
    """The version of this tree, by its last commit."""
    git = ["git", "-c", f"safe.directory={PROJECT}", "-C", str(PROJECT)]
    commit, moment = command.run([*git, "log", "-1", "--format=%H %cI"]).split()
    changed = command.run([*git, "status", "--porcelain", "--", "src", "benchmarks/*.py"])
    return Version(
        version=project_version(),
        commit=commit,
        committed_at=datetime.fromisoformat(moment),
        is_modified=bool(changed.strip()),
    )
