"""The nouns of a measurement: hosts with data, workloads on them, and the contenders of each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from benchmarks.program import holdfast_command

HERE = Path(__file__).parent
OUT = "/var/tmp/bench"  # noqa: S108  # inside a throw-away host
CONFIG_FILE = f"{OUT}/holdfast.yaml"
# Each workload adds its jobs.
CONFIG_HEAD = f"""\
state_directory: {OUT}/state
repositories:
  main: {{kind: local, path: {OUT}/repository}}
jobs:
"""
OURS = "holdfast"
BACKUP, RESTORE, START = "backup", "restore", "start"
# Sizes of a whole run; a quick one has a share of them.
WHOLE = {
    "rows": 10_000_000,
    "pictures": 2700,
    "small_tables": 500,
    "tables": 10_000,
    "objects": 800,
    "big_objects": 100,
    "mysql_rows": 700_000,
    "mysql_small_tables": 200,
    "mysql_tables": 10_000,
}
QUICK_SCALE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much data each workload has: `scale` times what a whole run has."""

    scale: float = 1.0

    def of(self, name: str) -> int:
        return max(1, round(WHOLE[name] * self.scale))

    def gigabytes(self, whole: float) -> str:
        """A size in words, given that of a whole run."""
        return f"{whole * self.scale:.2g} GB"

    def fill(self, script: str) -> str:
        """The script with `:name` of each known size replaced; `::type` remains."""
        names = "|".join(WHOLE)
        return re.sub(rf"(?<!:):({names})\b", lambda found: str(self.of(found[1])), script)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One command; `size` is a folder or file that it leaves behind, `reset` makes room for it.

    It runs in `folder`.
    """

    key: str
    name: str
    command: str
    size: str = ""
    reset: str = ""
    folder: str = "/"
    once: bool = False
    """It takes so long beside the others that one round must do; a quick run leaves it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Contenders that do the same, in turn; ours comes first."""

    name: str
    contenders: tuple[Contender, ...]
    repeats: int = 1
    """Measurements of each contender in a round: more where one takes less than a second."""
    once: bool = False
    """One round must do for all contenders; a quick run leaves them out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is measured on one set of data."""

    key: str
    title: str
    config: str
    phases: tuple[Phase, ...]
    prepare: str = ""
    tidy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Data on a host, loaded once for all of its workloads; all commands run as `user`."""

    key: str
    host: str
    user: str
    script: str
    load: str
    drop: str
    settle: str
    """Makes the server write what it still holds back, so that no contender pays for another."""
    workloads: tuple[Workload, ...]
    settings: str = ""
    """Sets the server up as root, once on each host; the datasets of a host share it."""


def holdfast(arguments: str) -> str:
    """A command line of the program under test."""
    return f"{holdfast_command()} --config {CONFIG_FILE} {arguments}"
