"""An installation as an operator has it: configuration, repository, state, and the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.waiting import WAIT_SECONDS, until

PROGRAM = [sys.executable, "-c", "from holdfast.cli.main import main; main()"]


class Installation:
    """A configuration with one job, and its own repository and state directory."""

    def __init__(self, folder: Path, source: dict[str, Any], *, level: int = 3) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        self.repository.mkdir(mode=0o700)
        (folder / "state").mkdir(mode=0o700)
        self.settings: dict[str, Any] = {
            "state_directory": str(folder / "state"),
            "repositories": {"main": {"kind": "local", "path": str(self.repository)}},
            "jobs": {
                "shop": {
                    "source": {"engine": "native", **source},
                    "repository": "main",
                    "compression": {"codec": "zstd", "level": level, "level_cap": level},
                    "schedule": "*-*-* 02:00:00",
                }
            },
        }

    def argv(self, *arguments: str) -> list[str]:
        config = self.folder / "holdfast.yaml"
        config.write_text(yaml.safe_dump(self.settings))
        return [*PROGRAM, "--config", str(config), *arguments]

    @property
    def job(self) -> dict[str, Any]:
        """The job's settings, which a test may change before a command runs."""
        job: dict[str, Any] = self.settings["jobs"]["shop"]
        return job

    def run(
        self, *arguments: str, code: int = 0, environment: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Run a command with --json, check its exit code and return its document."""
        done = subprocess.run(
            self.argv(*arguments, "--json"),
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | (environment or {}),
        )
        assert done.returncode == code, done.stdout + done.stderr
        document: dict[str, Any] = json.loads(done.stdout or "{}")
        return document

    def kept(self, *kinds: str) -> dict[str, int]:
        """The parts that unfinished runs have journalled, by key, with their inodes.

        A part that is stored again has another inode. Only parts of `kinds`, which a resumed run
        need not read again.
        """
        journals = (self.folder / "state/unfinished").rglob("*.jsonl")
        lines = [line for path in journals for line in path.read_text().splitlines()[1:]]
        keys = [part["key"] for part in map(json.loads, lines) if part["kind"] in kinds]
        return {key: (self.repository / key).stat().st_ino for key in keys}

    def backups(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.run("list", "shop")["backups"]
        return found

    def files(self) -> list[Path]:
        """The stored files of backups, without those of leases."""
        return sorted(path for path in self.repository.glob("shop/**/*") if path.is_file())

    def manifests(self) -> list[dict[str, Any]]:
        """The content of every stored manifest."""
        found = sorted(self.repository.rglob("manifest.json"))
        return [json.loads(path.read_text())["manifest"] for path in found]

    @contextmanager
    def standing_still(self) -> Iterator[subprocess.Popen[bytes]]:
        """A backup that was stopped (SIGSTOP) after it began to store."""
        with subprocess.Popen(
            self.argv("backup", "shop"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as running:
            try:
                until(lambda: bool(self.files()) or running.poll() is not None)
                running.send_signal(signal.SIGSTOP)
                assert running.poll() is None, "the backup ended before it could be stopped"
                yield running
            finally:
                if running.poll() is None:
                    running.kill()

    @contextmanager
    def stopped_at(self, failpoint: str) -> Iterator[None]:
        """A backup that stands still at `failpoint` during the block, and must then succeed."""
        environment = os.environ | {"HOLDFAST_FAILPOINT": f"{failpoint}:1:stop"}
        with subprocess.Popen(
            self.argv("backup", "shop"),
            env=environment,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as running:
            try:
                _, status = os.waitpid(running.pid, os.WUNTRACED)
                assert os.WIFSTOPPED(status), f"it ended before {failpoint}"
                yield
            finally:
                running.send_signal(signal.SIGCONT)
            _, told = running.communicate(timeout=WAIT_SECONDS)
            assert running.returncode == 0, told
