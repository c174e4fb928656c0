"""`playbooks/fleet.yml` writes the hosts of an inventory and their jobs, and asks none of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from holdfast.model.fleet import expected_in

PROJECT = Path(__file__).resolve().parents[3]


def test_the_example_inventory_becomes_a_file_of_expected_hosts(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            f"--inventory={PROJECT / 'inventory/example'}",
            f"--extra-vars=fleet_expect_file={path} ansible_remote_tmp={tmp_path}/files",
            PROJECT / "playbooks/fleet.yml",
        ],
        env=os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(path.read_text())["hosts"] == {
        "db1.example.net": ["shop"],
        "db2.example.net": ["reports", "shop"],
        "db3.example.net": ["orders"],
    }
    assert ("db2.example.net", "reports") in expected_in([path.read_bytes()])
