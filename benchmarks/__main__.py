"""`python -m benchmarks [postgres|mysql|fleet ...]`: measure, and print ratios to our own time.

`python -m benchmarks upload ...`, `catalog` and `files` are others, about stores, what they hold,
and clusters of many files: `benchmarks.upload`, `benchmarks.catalog`, `benchmarks.files`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import catalog, files, fleet as tuned_fleet, upload
from benchmarks.physical import PHYSICAL, PHYSICAL_FILES
from benchmarks.workloads import HERE, OUT, USUAL, WORKLOADS as DATABASES, Contender, Workload
from lab import command, fleet, hosts, project
from lab.fleet import Fleet

INVENTORY = HERE / "inventory"
MB = 1e6
Cost = dict[str, float]
WORKLOADS = {**DATABASES, "physical": PHYSICAL, "physical-files": PHYSICAL_FILES}
# No database is measured there, so it is asked for by name only.
FLEET = "fleet"
WIDTH = 140
COLUMNS = ("", "seconds", "ratio", "client CPU s", "server CPU s", "memory", "tasks", "stored")
ENVIRONMENT = (
    "PATH=/opt/engine/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONPATH=/project/src",
    f"HOME={OUT}",
)


def main(argv: list[str]) -> int:
    """Each workload on its own host, one after another: nothing else should run on the machine."""
    if argv[:1] == ["upload"]:
        return upload.main(argv[1:])
    if argv == ["catalog"]:
        return catalog.main()
    if argv[:1] == ["files"]:
        return files.main(argv[1:])
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", help=", ".join([*WORKLOADS, FLEET])
    )
    parser.add_argument(
        "--rounds", type=int, default=1, help="rounds of each contender; the median is shown"
    )
    chosen = parser.parse_args(argv)
    wanted = chosen.workloads or list(USUAL)
    unknown = [name for name in wanted if name not in {*WORKLOADS, FLEET}]
    if unknown:
        known = ", ".join([*WORKLOADS, FLEET])
        parser.error(f"unknown workload '{unknown[0]}'; known are {known}")
    machines = fleet.read(INVENTORY)
    console = Console(highlight=False, width=WIDTH)
    for name in wanted:
        if name == FLEET:
            tuned_fleet.measure(console)
            continue
        workload = WORKLOADS[name]
        try:
            hosts.up(machines, limit=[workload.host])
            measured(workload, machines, console, rounds=chosen.rounds)
        finally:
            hosts.down(machines, limit=[workload.host])
    return 0


def measured(workload: Workload, machines: Fleet, console: Console, *, rounds: int) -> None:
    """Run all contenders in turn, round after round, so that a slow minute affects all alike."""
    host = machines.host(workload.host)
    container = host.container(machines.network)
    project.install(container)
    _prepare(workload, container, console)
    for what, contenders in (("backup", workload.backups), ("restore", workload.restores)):
        if not contenders:
            continue
        costs: dict[str, list[Cost]] = {contender.name: [] for contender in contenders}
        for number in range(1, rounds + 1):
            for contender in contenders:
                console.print(f"  {what} {number} of {rounds}: {contender.name}")
                costs[contender.name].append(_cost(workload, container, contender))
        _show(f"{workload.name}: {what}", contenders, costs, console)


def _show(
    title: str,
    contenders: Sequence[Contender],
    costs: Mapping[str, Sequence[Cost]],
    console: Console,
) -> None:
    table = Table(title=title, title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if not column else "right")
    middle = {name: _median(each) for name, each in costs.items()}
    base = middle[contenders[0].name]["seconds"]
    for contender in contenders:
        table.add_row(contender.name, *_cells(middle[contender.name], base))
    console.print(table)


def _median(costs: Sequence[Cost]) -> Cost:
    return {name: statistics.median(cost[name] for cost in costs) for name in costs[0]}


def _cells(cost: Cost, base: float) -> list[str]:
    return [
        f"{cost['seconds']:.1f}",
        f"{cost['seconds'] / base:.2f}",
        f"{cost['client_cpu_seconds']:.1f}",
        f"{cost['server_cpu_seconds']:.1f}",
        f"{cost['peak_bytes'] / MB:.0f} MB",
        f"{cost['peak_tasks']:.0f}",
        f"{cost['stored'] / MB:.0f} MB" if "stored" in cost else "",
    ]


def _prepare(workload: Workload, container: str, console: Console) -> None:
    console.print(f"{workload.name}: loading")
    script = Path(HERE / workload.script).read_text()
    folders = " ".join(f"{OUT}/{name}" for name in ("", "state", "repository"))
    make = f"install -d -m 0700 -o {workload.user} {folders}"
    _podman(container, "root", make)
    if workload.settings:
        _podman(container, "root", workload.settings)
    _podman(container, workload.user, f"cat > {OUT}/load.sql", feed=script)
    _podman(container, workload.user, f"cat > {OUT}/holdfast.yaml", feed=workload.config)
    _podman(container, workload.user, workload.load)


def _cost(workload: Workload, container: str, contender: Contender) -> Cost:
    if contender.reset:
        _podman(container, workload.user, contender.reset)
    measure = f"python /project/benchmarks/measure.py {contender.command}"
    cost: Cost = json.loads(_podman(container, workload.user, measure))
    if contender.size:
        size = _podman(container, workload.user, f"du -sb {OUT}/{contender.size}")
        cost["stored"] = int(size.split()[0])
    return cost


def _podman(container: str, user: str, shell: str, *, feed: str = "") -> str:
    argv = [
        *("podman", "exec", "-i", "--workdir", "/", container),
        *("runuser", "-u", user, "--", "env", *ENVIRONMENT, "sh", "-c", shell),
    ]
    return command.run(argv, feed=feed.encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
