"""How long `playbooks/tune.yml` takes on hosts where nothing is left to change."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lab import fleet, hosts
from lab.errors import LabError
from lab.state import PROJECT

INVENTORY = Path(__file__).parent / "fleet_inventory"
SIZES = (1, 5, 10, 20)


def main(argv: list[str]) -> int:
    """Tune all hosts once, then time a second run on more and more of them."""
    argparse.ArgumentParser(prog="scripts/bench fleet", description=__doc__).parse_args(argv)
    console = Console(highlight=False)
    machines = fleet.read(INVENTORY)
    names = [host.name for host in machines.hosts]
    try:
        hosts.up(machines, limit=[])
        console.print(f"  fleet: tuning {len(names)} hosts for the first time")
        first = seconds(names, unchanged=False)
        table = Table(title="fleet: second run of tune.yml, unchanged", title_justify="left")
        for column in ("hosts", "seconds", "seconds per host"):
            table.add_column(column, justify="right")
        for size in SIZES:
            took = seconds(names[:size], unchanged=True)
            table.add_row(str(size), f"{took:.1f}", f"{took / size:.2f}")
            console.print(f"  fleet: {size} hosts, {took:.1f} s")
        console.print(table)
        console.print(f"  first run on {len(names)} hosts: {first:.1f} s")
    finally:
        hosts.down(machines, limit=[])
    return 0


def seconds(names: list[str], *, unchanged: bool) -> float:
    """Wall time of one run on these hosts; a run that changes what it should not is no measure."""
    asked = {"fleet_hosts": ":".join(names), "fleet_waves": ["100%"]}
    program = Path(sys.executable).with_name("ansible-playbook")
    playbook = PROJECT / "playbooks/tune.yml"
    began = time.monotonic()
    done = subprocess.run(
        [str(program), f"--inventory={INVENTORY}", str(playbook), f"-e{json.dumps(asked)}"],
        cwd=PROJECT,
        env=os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.monotonic() - began
    changes = [int(count) for count in re.findall(r"changed=(\d+)", done.stdout)]
    if done.returncode or len(changes) < len(names) or (unchanged and any(changes)):
        raise LabError("cannot measure the fleet: the run failed or changed a host",
                       hint=done.stdout[-2000:])  # fmt: skip
    return took
