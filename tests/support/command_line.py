"""The command line in this process: a configuration on disk, a database in memory."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.main import main
from holdfast.config.load import load
from holdfast.config.sources import PostgresSettings
from holdfast.operations.context import BackupContext
from holdfast.ports.target import Target
from holdfast.wiring import drill as wiring_drill, jobs as wiring, sources as wiring_sources
from tests.fakes.drill import FakeDrillServer
from tests.fakes.progress import FakeProgress
from tests.fakes.source import FakeSource, FakeTarget, table

CONFIG = """\
state_directory: {folder}/state
repositories:
  main: {{kind: local, path: {folder}/repository}}
jobs:
  shop:
    source: {{kind: postgres, dsn: "dbname=shop"}}
    repository: main
    max_concurrent_processes: 2
    retention: {{last: 1}}
"""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The output and exit code of one call of the program."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.stdout)
        return document


class CommandLine:
    """Calls `main` in this process, with fakes in the table of drivers."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        self.repository.mkdir()
        (folder / "state").mkdir()
        self.config = folder / "holdfast.yaml"
        self.config.write_text(CONFIG.format(folder=folder))
        self.source = FakeSource(table("orders", "1,ann", "2,bob"), table("items", "1,9"))
        self.target = FakeTarget()
        self.drill_server = FakeDrillServer()
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.setitem(wiring_sources.SOURCES, PostgresSettings, lambda *_: self.source)
        monkeypatch.setitem(wiring_sources.TARGETS, "fake", {"fake": self._make_target})
        monkeypatch.setitem(
            wiring_drill.SERVERS,
            "fake",
            lambda wanted: self.drill_server.opened(wanted.manifest, wanted.room, wanted.until),
        )
        monkeypatch.setattr("holdfast.cli.drill.give_way", lambda: None)

    def _make_target(self, _url: str, _password: str | None) -> Target:
        return self.target

    def holdfast(self, *arguments: str) -> Answer:
        """Run `holdfast --config THE_FILE arguments...`."""
        return self.bare("--config", str(self.config), *arguments)

    def bare(self, *arguments: str) -> Answer:
        self._monkeypatch.setattr(sys, "argv", ["holdfast", *arguments])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = self._capsys.readouterr()
        code = ended.value.code
        return Answer(
            exit_code=code if isinstance(code, int) else 0, stdout=said.out, stderr=said.err
        )

    def configure(self, line: str) -> None:
        """Add one line of settings to the job."""
        self.config.write_text(f"{CONFIG.format(folder=self.folder)}    {line}\n")

    def context(self, job: str) -> BackupContext:
        return wiring.backup_context(load(self.config), job, progress=FakeProgress())

    def stored(self, name: str) -> Path:
        """The only stored file whose name ends with `name`."""
        (found,) = self.repository.rglob(f"*{name}")
        return found


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
