"""A fleet of a thousand hosts with three jobs each: what its page costs."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from holdfast.catalog.documents import wrapped
from holdfast.catalog.host_statuses import NAME
from holdfast.catalog.places import StatusPlace, status_key
from holdfast.model.host_status import SCHEMA
from holdfast.model.stored_json import plain
from holdfast.repositories.local import LocalRepository
from tests.support.fleets import many

HOSTS = 1000
MB = 1e6
CONFIG = """\
state_directory: {folder}/state
repositories:
  main: {{kind: local, path: {folder}/repository}}
jobs: {{}}
"""
# As `holdfast.model.errors.JobNeedsAttention`: some of the hosts are in need.
ATTENTION = 44


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one call of the program took."""

    cpu_seconds: float
    peak_bytes: int


def main(argv: list[str]) -> int:
    """Leave the statuses in the temporary folder, measure, remove them."""
    parser = argparse.ArgumentParser(prog="scripts/bench fleet-page", description=__doc__)
    parser.add_argument("--hosts", type=int, default=HOSTS, metavar="N")
    hosts = parser.parse_args(argv).hosts
    folder = Path(tempfile.mkdtemp(prefix="holdfast-fleet-page-"))
    try:
        _fill(folder, hosts)
        page = folder / "fleet.html"
        calls = {"fleet": [], "fleet --json": ["--json"], "fleet --html": ["--html", str(page)]}
        for name, arguments in calls.items():
            cost = _measured(folder, arguments)
            sys.stdout.write(
                f"{name:16}{cost.cpu_seconds:8.2f} CPU s {cost.peak_bytes / MB:8.0f} MB\n"
            )
        sys.stdout.write(f"the page has {page.stat().st_size / MB:.1f} MB, {hosts} hosts\n")
    finally:
        shutil.rmtree(folder)
    return 0


def _fill(folder: Path, hosts: int) -> None:
    """A status for each job of each host, as `holdfast` leaves them."""
    (folder / "state").mkdir()
    (folder / "repository").mkdir()
    (folder / "holdfast.yaml").write_text(CONFIG.format(folder=folder))
    repository = LocalRepository(folder / "repository")
    for each in many(hosts, at=datetime.now(UTC).replace(microsecond=0)):
        key = status_key(StatusPlace(each.job, each.host, each.name))
        repository.put(key, [wrapped(plain(each), schema=SCHEMA, name=NAME)])


def _measured(folder: Path, arguments: Sequence[str]) -> Cost:
    """CPU time and resident peak of a process of its own."""
    program = [sys.executable, "-c", "from holdfast.cli.main import main; main()"]
    process = subprocess.Popen(
        [*program, "--config", str(folder / "holdfast.yaml"), "fleet", *arguments],
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, ATTENTION):
        raise RuntimeError(f"'holdfast fleet' ended with {process.returncode}")
    return Cost(cpu_seconds=usage.ru_utime + usage.ru_stime, peak_bytes=usage.ru_maxrss << 10)
