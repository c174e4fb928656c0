"""Run a playbook as an operator would, keep its log, and report a failure in one line."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.state import LOGS, PROJECT

RECAP = re.compile(r"^(?P<host>\S+)\s+: ok=\d+\s+changed=(?P<changed>\d+)", re.MULTILINE)
FATAL = re.compile(r"^(?:fatal|failed): \[(?P<host>[^\]]+)\].*", re.MULTILINE)
MESSAGE = re.compile(r"^\s*(?:\"?msg\"?): (?P<message>.+(?:\n {6,}.+)*)", re.MULTILINE)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """The number of changes per host, and the log."""

    changed: Mapping[str, int]
    log: Path


def play(
    name: str,
    inventory: Path,
    *,
    variables: Mapping[str, Any],
    log: str,
    say: Callable[[str], None],
    project: Path = PROJECT,
) -> Played:
    """Run `playbooks/NAME.yml` of a project; raises `LabError` naming host, cause and log."""
    path = LOGS / "demo" / f"{log}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    programs = Path(sys.executable).parent
    argv = [str(programs / "ansible-playbook"), "-i", str(inventory), f"playbooks/{name}.yml"]
    argv += ["-e", json.dumps(dict(variables))]
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(project / "ansible.cfg"),
        "ANSIBLE_FORCE_COLOR": "0",
        "PYTHONUNBUFFERED": "1",
    }
    with (
        path.open("w") as out,
        subprocess.Popen(
            argv,
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as playing,
    ):
        for line in playing.stdout or ():
            out.write(line)
            if line.startswith(("TASK [", "PLAY [")):
                say(line.split("[", 1)[1].rsplit("]", 1)[0])
    text = COLOURS.sub("", path.read_text())
    if playing.returncode != 0:
        raise LabError(_cause(name, text), hint=f"read {path}")
    return Played(
        changed={found["host"]: int(found["changed"]) for found in RECAP.finditer(text)}, log=path
    )


def _cause(name: str, text: str) -> str:
    """Host and message of the first failure; the last line if there is none."""
    fatal = FATAL.search(text)
    if fatal is None:
        lines = [line for line in text.splitlines() if line.strip()]
        return f"cannot run playbook '{name}': {lines[-1] if lines else 'no output'}"
    message = MESSAGE.search(text, fatal.start())
    cause = " ".join(message["message"].split()) if message else fatal[0]
    return f"cannot run playbook '{name}' on {fatal['host']}: {cause}"
