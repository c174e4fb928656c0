"""`playbooks/fleet.yml` writes the hosts of an inventory and their jobs, and asks none of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from holdfast.model.fleet import expected_in

PROJECT = Path(__file__).resolve().parents[3]


def test_the_example_inventory_becomes_a_file_of_expected_hosts_and_a_page(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    (tmp_path / "repository").mkdir()
    (tmp_path / "holdfast.yaml").write_text(
        f"state_directory: {tmp_path}/state\njobs: {{}}\n"
        f"repositories:\n  main: {{kind: local, path: {tmp_path}/repository}}\n"
    )
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            f"--inventory={PROJECT / 'inventory/example'}",
            f"--extra-vars=fleet_expect_file={path} ansible_remote_tmp={tmp_path}/files",
            f"--extra-vars=fleet_page={tmp_path}/fleet.html",
            f"--extra-vars=fleet_config={tmp_path}/holdfast.yaml",
            f"--extra-vars=fleet_executable={Path(sys.executable).with_name('holdfast')}",
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
    page = (tmp_path / "fleet.html").read_text()
    assert all(host in page for host in ("db1.example.net", "db2.example.net", "db3.example.net"))
    assert "4 jobs of 3 hosts" in " ".join(page.split()).replace("<b>4</b> of ", "")
