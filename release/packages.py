"""The wheel and the source distribution, and the locked wheels that they depend on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lab import command
from lab.state import PROJECT
from plugins.modules.backup_runner_wheelhouse import Target, Wheelhouse
from release.source import Source

CACHE = Path("~/.cache/holdfast/wheelhouse").expanduser()
ROLE = yaml.safe_load((PROJECT / "roles/backup_runner/vars/main.yml").read_text())
LOCKS = ("runner", "clusters")


def distributions(source: Source, into: Path) -> list[Path]:
    """Build the wheel and the source distribution; returns both."""
    argv = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--sdist"]
    command.run(
        [*argv, f"--outdir={into}", str(source.folder)], environment=dict(source.environment)
    )
    return [
        into / f"holdfast-{source.version}-py3-none-any.whl",
        into / f"holdfast-{source.version}.tar.gz",
    ]


class _Commands:
    """Runs what the module of the role runs; only this method of Ansible's class is called."""

    def run_command(self, argv: Sequence[str]) -> tuple[int, str, str]:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr


def locked_wheels(source: Source, target: Target) -> list[Path]:
    """All wheels that the runner needs there, its extra included, as the role downloads them."""
    commands: Any = _Commands()
    house = Wheelhouse(
        module=commands,
        project=source.folder,
        cache=CACHE,
        platforms=ROLE["__backup_runner_platforms"],
    )
    locks = [source.folder / "requirements" / f"{name}.txt" for name in LOCKS]
    return sorted(wheel for lock in locks for wheel in house.downloads(target, lock).glob("*.whl"))
