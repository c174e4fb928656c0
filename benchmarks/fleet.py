"""What `tune.yml` and `site.yml` cost on hosts where nothing is left to change."""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lab import command, fleet, hosts
from lab.errors import LabError
from lab.state import PROJECT

INVENTORY = Path(__file__).parent / "fleet_inventory"
SIZES = (1, 5, 10, 20)
PLAYBOOKS = ("tune", "site")
# Where a container sees the CPU time of its own group: cgroup version 1, version 2.
ASK_CPU = (
    "cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2>/dev/null"
    " || sed -n 's/^usage_usec \\(.*\\)/\\1000/p' /sys/fs/cgroup/cpu.stat"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one run cost: wall time, tasks, and CPU time of the control node and of all hosts."""

    hosts: int
    seconds: float
    tasks: int
    control_cpu: float
    hosts_cpu: float

    def row(self) -> list[str]:
        """The cells of the table, each figure per host."""
        per_host = (self.seconds, self.control_cpu, self.hosts_cpu)
        figures = [f"{each / self.hosts:.2f}" for each in per_host]
        return [str(self.hosts), str(self.tasks), f"{self.seconds:.1f}", *figures]


def main(argv: list[str]) -> int:
    """Set all hosts up once, then measure unchanged runs on more and more of them."""
    parser = argparse.ArgumentParser(prog="scripts/bench fleet", description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, help="numbers of hosts (default: 1 5 10 20)")
    sizes = parser.parse_args(argv).sizes or list(SIZES)
    console = Console(highlight=False)
    machines = fleet.read(INVENTORY)
    names = [host.name for host in machines.hosts][: max(sizes)]
    containers = {host.name: host.container(machines.network) for host in machines.hosts}
    try:
        hosts.up(machines, limit=names)
        console.print(f"  fleet: setting up {len(names)} hosts for the first time")
        first = measured("site", names, containers, unchanged=False)
        console.print(f"  fleet: site.yml, first run: {first.seconds:.1f} s")
        for playbook in PLAYBOOKS:
            console.print(table(playbook, sizes, names=names, containers=containers))
    finally:
        hosts.down(machines, limit=[])
    return 0


def table(
    playbook: str, sizes: list[int], *, names: list[str], containers: dict[str, str]
) -> Table:
    """One line per number of hosts."""
    found = Table(title=f"fleet: {playbook}.yml, unchanged", title_justify="left")
    headings = ("hosts", "tasks", "seconds", "s/host", "CPU s/host, control", "CPU s/host, host")
    for heading in headings:
        found.add_column(heading, justify="right")
    for size in sizes:
        found.add_row(*measured(playbook, names[:size], containers, unchanged=True).row())
    return found


def measured(
    playbook: str, names: list[str], containers: dict[str, str], *, unchanged: bool
) -> Cost:
    """One run on these hosts; a run that changes what it should not is no measure."""
    of_hosts, of_ours = hosts_cpu(names, containers), own_cpu()
    began = time.monotonic()
    output = play(playbook, names)
    seconds = time.monotonic() - began
    cost = Cost(
        hosts=len(names),
        seconds=seconds,
        tasks=len(re.findall(r"^TASK \[", output, re.MULTILINE)),
        control_cpu=own_cpu() - of_ours,
        hosts_cpu=hosts_cpu(names, containers) - of_hosts,
    )
    changes = [int(count) for count in re.findall(r"changed=(\d+)", output)]
    if len(changes) < len(names) or (unchanged and any(changes)):
        raise LabError("cannot measure the fleet: the run changed a host", hint=output[-2000:])
    return cost


def play(playbook: str, names: list[str]) -> str:
    """The output of the playbook on these hosts."""
    asked = {"fleet_hosts": ":".join(names), "fleet_waves": ["100%"]}
    program = Path(sys.executable).with_name("ansible-playbook")
    playbook_file = PROJECT / "playbooks" / f"{playbook}.yml"
    done = subprocess.run(
        [str(program), f"--inventory={INVENTORY}", str(playbook_file), f"-e{json.dumps(asked)}"],
        cwd=PROJECT,
        env=os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LabError("cannot measure the fleet: the run failed", hint=done.stdout[-2000:])
    return done.stdout


def own_cpu() -> float:
    """CPU seconds of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def hosts_cpu(names: list[str], containers: dict[str, str]) -> float:
    """CPU seconds of all processes of the hosts so far."""
    asking = [["podman", "exec", containers[name], "sh", "-c", ASK_CPU] for name in names]
    return sum(int(command.run(argv)) for argv in asking) / 1e9
