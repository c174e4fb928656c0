"""`playbooks/drill.yml` runs on the hosts for drills where there are any, and refuses clearly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
NOTHING = "cannot drill: no job of these hosts has drill settings"
UNKNOWN = "cannot drill no-such-job: no host has a drill service of that name"


@pytest.mark.parametrize(
    ("groups", "asked", "host", "told"),
    [
        ({"databases": "db1"}, [], "db1", NOTHING),
        ({"databases": "db1", "drill_hosts": "proof1"}, [], "proof1", NOTHING),
        ({"databases": "db1"}, ["-e", "drill_jobs=no-such-job"], "db1", UNKNOWN),
    ],
)
def test_drills_run_on_the_hosts_for_them_and_never_on_none(
    tmp_path: Path, groups: dict[str, str], asked: list[str], host: str, told: str
) -> None:
    children = {group: {"hosts": {name: here(tmp_path)}} for group, name in groups.items()}
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"all": {"children": children}}))
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            *(f"--inventory={inventory}", "--check", "playbooks/drill.yml", *asked),
        ],
        cwd=PROJECT,
        env=os.environ | {"HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    # Long messages are wrapped.
    assert told in " ".join(done.stdout.split())
    assert {name for name in ("db1", "proof1") if f"[{name}]" in done.stdout} == {host}


def here(folder: Path) -> dict[str, object]:
    return {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
        # The home of the user who runs this may be nobody's to write to.
        "ansible_remote_tmp": str(folder / "files"),
    }
