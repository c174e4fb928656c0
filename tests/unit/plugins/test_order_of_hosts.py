"""The canary is the first host of the inventory, not the first one that answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]


def test_waves_go_through_the_hosts_in_the_order_of_the_inventory(tmp_path: Path) -> None:
    order = tmp_path / "order"
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    # The first host answers only after the second one has: it waits in open(2) for it.
    interpreters = {
        "db1": f'read line <"{gate}"; exec "{sys.executable}" "$@"',
        "db2": f'"{sys.executable}" "$@"; code=$?; echo answered >"{gate}"; exit $code',
    }
    hosts = {name: local_host(tmp_path / name, text) for name, text in interpreters.items()}
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"all": {"children": {"databases": {"hosts": hosts}}}}))
    playbook = tmp_path / "waves.yml"
    playbook.write_text(json.dumps(plays(order, tmp_path / "files")))
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            f"--inventory={inventory}",
            playbook,
        ],
        env=os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert order.read_text().split() == ["db1", "db2"]


def plays(order: Path, files: Path) -> list[dict[str, object]]:
    """Count the hosts as every playbook does, then write their names to `order` one by one."""
    task = {
        "ansible.builtin.lineinfile": {
            "path": str(order),
            "line": "{{ inventory_hostname }}",
            "create": True,
            "mode": "0600",
        },
        "delegate_to": "localhost",
        "vars": {
            "ansible_python_interpreter": sys.executable,
            "ansible_remote_tmp": str(files),
        },
    }
    waves = {"hosts": "fleet_reachable", "gather_facts": False, "serial": 1, "tasks": [task]}
    return [{"import_playbook": str(PROJECT / "playbooks/reachable.yml")}, waves]


def local_host(interpreter: Path, script: str) -> dict[str, object]:
    """A host on this machine whose answers pass through a script."""
    interpreter.write_text(f"#!/bin/sh\n{script}\n")
    interpreter.chmod(0o700)
    return {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": str(interpreter),
        # The home of the user who runs this may be nobody's to write to.
        "ansible_remote_tmp": f"{interpreter}.files",
    }
