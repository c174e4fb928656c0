"""`python -m benchmarks [postgres|mysql ...]`: measure, and print ratios to our own time."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import catalog
from benchmarks.workloads import HERE, OUT, USUAL, WORKLOADS, Contender, Workload
from lab import command, fleet, hosts, project
from lab.fleet import Fleet

INVENTORY = HERE / "inventory"
MB = 1e6
CATALOG = "catalog"
COLUMNS = ("", "seconds", "ratio", "client CPU s", "server CPU s", "memory", "tasks", "stored")
ENVIRONMENT = (
    "PATH=/opt/engine/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONPATH=/project/src",
    f"HOME={OUT}",
)


def main(argv: list[str]) -> int:
    """Each workload on its own host, one after another: nothing else should run meanwhile."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    known = (*WORKLOADS, CATALOG)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=", ".join(known))
    wanted = parser.parse_args(argv).workloads or list(USUAL)
    if wanted == [CATALOG]:
        return catalog.main()
    unknown = [name for name in wanted if name not in WORKLOADS]
    if unknown:
        parser.error(f"there is no workload '{unknown[0]}'; there are {', '.join(known)}")
    machines = fleet.read(INVENTORY)
    console = Console(highlight=False)
    for name in wanted:
        workload = WORKLOADS[name]
        try:
            hosts.up(machines, limit=[workload.host])
            measured(workload, machines, console)
        finally:
            hosts.down(machines, limit=[workload.host])
    return 0


def measured(workload: Workload, machines: Fleet, console: Console) -> None:
    host = machines.host(workload.host)
    container = host.container(machines.network)
    project.install(container)
    _prepare(workload, container, console)
    for what, contenders in (("backup", workload.backups), ("restore", workload.restores)):
        if not contenders:
            continue
        table = Table(title=f"{workload.name}: {what}", title_justify="left")
        for column in COLUMNS:
            table.add_column(column, justify="left" if not column else "right")
        base = 0.0
        for contender in contenders:
            console.print(f"  {what}: {contender.name}")
            cost = _cost(workload, container, contender)
            base = base or cost["seconds"]
            table.add_row(*_cells(contender, cost, base))
        console.print(table)


def _cells(contender: Contender, cost: dict[str, Any], base: float) -> list[str]:
    return [
        contender.name,
        f"{cost['seconds']:.1f}",
        f"{cost['seconds'] / base:.2f}",
        f"{cost['client_cpu_seconds']:.1f}",
        f"{cost['server_cpu_seconds']:.1f}",
        f"{cost['peak_bytes'] / MB:.0f} MB",
        str(cost["peak_tasks"]),
        f"{cost['stored'] / MB:.0f} MB" if "stored" in cost else "",
    ]


def _prepare(workload: Workload, container: str, console: Console) -> None:
    console.print(f"{workload.name}: loading")
    script = Path(HERE / workload.script).read_text()
    folders = " ".join(f"{OUT}/{name}" for name in ("", "state", "repository"))
    make = f"install -d -m 0700 -o {workload.user} {folders}"
    _podman(container, "root", make)
    _podman(container, workload.user, f"cat > {OUT}/load.sql", feed=script)
    _podman(container, workload.user, f"cat > {OUT}/holdfast.yaml", feed=workload.config)
    _podman(container, workload.user, workload.load)


def _cost(workload: Workload, container: str, contender: Contender) -> dict[str, Any]:
    measure = f"python /project/benchmarks/measure.py {contender.command}"
    cost: dict[str, Any] = json.loads(_podman(container, workload.user, measure))
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
