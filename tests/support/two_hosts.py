"""Two hosts that share a repository; their runs are real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.support.command_line import CONFIG
from tests.support.waiting import until

PROJECT = Path(__file__).resolve().parents[2]
# Long enough for a busy disk: a put that takes longer rightly loses the lease.
LEASE_SECONDS = 8
# The time that the rest of a run may take on a busy machine, besides the waiting.
SLACK_SECONDS = 20
# A separate process that claims to run on another host. Reading its one table takes until the file
# GO exists.
PROGRAM = """
import dataclasses, functools, os, pathlib, sys, threading, time
from tests.fakes.source import FakeSource, table
from holdfast.locking import lease
from holdfast.wiring import sources as wiring_sources
from holdfast.cli.main import main
from holdfast.config.sources import PostgresSettings
from holdfast.locking.host_lock import this_process

host, go = os.environ["HOST"], pathlib.Path(os.environ["GO"])

class Gate(threading.Event):
    def wait(self, timeout=None):
        while not go.exists() and not self.is_set():
            time.sleep(0.01)
        return True

me = dataclasses.replace(this_process(), boot_id=host, host=host)
lease.Terms = functools.partial(lease.Terms, me=me)
orders = dataclasses.replace(table("orders", "1,ann", "2,bob"), waits_for=Gate())
wiring_sources.SOURCES[PostgresSettings] = lambda *_: FakeSource(orders)
main()
"""
Run = subprocess.Popen[str]


class TwoHosts:
    """Hosts with a state directory each, and one repository: a folder, or another `store`."""

    def __init__(self, folder: Path, *, store: str = "") -> None:
        self.folder = folder
        self.repository = folder / "repository"
        self.repository.mkdir()
        self.go = folder / "go"
        self._store = store or f"kind: local, path: {self.repository}"

    def config(self, host: str) -> Path:
        path = self.folder / f"{host}.yaml"
        if not path.exists():
            (self.folder / host / "state").mkdir(parents=True)
            text = CONFIG.format(folder=self.folder / host)
            store = f"{{{self._store}, lease_time: {LEASE_SECONDS}s}}"
            path.write_text(
                text.replace(f"{{kind: local, path: {self.folder / host}/repository}}", store)
            )
        return path

    @contextmanager
    def started(self, host: str, *arguments: str, failpoint: str = "") -> Iterator[Run]:
        environment = {
            **os.environ,
            "HOST": host,
            "GO": str(self.go),
            "HOLDFAST_FAILPOINT": failpoint,
        }
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "--config", str(self.config(host)), *arguments],
            cwd=PROJECT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def ended(self, host: str, *arguments: str, failpoint: str = "") -> tuple[int, dict[str, Any]]:
        """Run to the end; returns the exit code and the document."""
        with self.started(host, *arguments, "--json", failpoint=failpoint) as process:
            stdout, _ = process.communicate(timeout=120)
        return process.returncode, json.loads(stdout or "{}")

    def is_reading(self) -> bool:
        """Whether a run of either host has begun to store parts."""
        return any(self.repository.glob("shop/*/parts/**/.unfinished-*"))


def codes_of_five_starts(hosts: TwoHosts) -> list[int]:
    """The sorted exit codes of five runs of one job, started at once.

    Three of them run on one host, two on another.
    """
    for host in ("a", "b"):
        config = hosts.config(host)
        config.write_text(
            config.read_text().replace("retention:", "overlap_alarm: 9\n    retention:")
        )
    with ExitStack() as started:
        runs = [started.enter_context(hosts.started(host, "backup", "shop")) for host in "aaabb"]
        until(lambda: sum(run.poll() is not None for run in runs) == 4)
        hosts.go.touch()
        for run in runs:
            run.communicate(timeout=120)
    return sorted(run.returncode for run in runs)
