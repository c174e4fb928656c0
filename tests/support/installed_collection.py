"""The collection in a folder of its own, with nothing of the clone or of the user in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(sys.executable).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """The folder that `ansible-galaxy` installed the collection into."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "ansible_collections/holdfast/holdfast"

    def run(self, program: str, *words: str) -> str:
        own = without_ansible() | {
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder),
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
        }
        return output_of(program, *words, cwd=self.folder, env=own)


def without_ansible() -> dict[str, str]:
    """The environment without what the user, the clone or the host tells Ansible."""
    return {name: value for name, value in os.environ.items() if "ANSIBLE" not in name}


def output_of(program: str, *words: str, cwd: Path, env: Mapping[str, str]) -> str:
    """What a program of this environment prints; it must succeed."""
    done = subprocess.run(
        [PROGRAMS / program, *words],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed_from(file: Path, *, into: Path) -> Installed:
    """Install the collection from one file, as its users do."""
    found = Installed(folder=into)
    found.run(
        *("ansible-galaxy", "collection", "install", "--offline", str(file)),
        *("-p", str(into)),
    )
    return found
