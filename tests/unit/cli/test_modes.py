"""Every file that the program makes has a chosen mode, independent of the umask."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.memory_cluster import DataDirectory

PROJECT = Path(__file__).resolve().parents[3]
ONE = "000000010000000000000001"
# One process for all calls: each ends with SystemExit.
PROGRAM = """
import contextlib, json, sys
from tests.fakes.source import FakeSource, table
from holdfast.wiring import sources as wiring_sources
from holdfast.cli.main import main
from holdfast.config.sources import PostgresSettings

wiring_sources.SOURCES[PostgresSettings] = lambda *_: FakeSource(table("orders", "1", "2"))
for call in json.loads(sys.argv.pop()):
    sys.argv[1:] = call
    with contextlib.suppress(SystemExit):
        main()
"""


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777], ids=oct)
def test_modes_are_set_and_not_inherited(cli: CommandLine, umask: int) -> None:
    metrics = cli.folder / "metrics"
    metrics.mkdir(mode=0o755)
    metrics.chmod(0o755)
    for folder in (cli.repository, cli.folder / "state"):
        folder.chmod(0o700)
    cli.config.write_text(cli.config.read_text() + f"metrics_directory: {metrics}\n")
    server = DataDirectory(cli.folder / "data")
    wal, key = str(server.finish(ONE)), str(cli.folder / "restore.key")
    before = set(cli.folder.rglob("*"))
    got = str(cli.folder / "RECOVERYXLOG")
    calls = [
        ["backup", "shop"],
        ["backup", "shop"],
        ["verify", "shop/latest"],
        ["verify", "shop", "--level", "ledger"],
        ["prune", "shop"],
        ["repair", "shop"],
        ["list"],
        ["wal", "push", "shop", wal],
        ["wal", "get", "shop", ONE, got, "--cluster", "77"],
        ["keys", "identity", key],
    ]
    lines = json.dumps([["--config", str(cli.config), *call] for call in calls])
    subprocess.run([sys.executable, "-c", PROGRAM, lines], cwd=PROJECT, umask=umask, check=True)
    made = set(cli.folder.rglob("*")) - before
    public = {path for path in made if path.parent == metrics}
    assert {path.name for path in public} == {
        "holdfast_shop.prom",
        "holdfast_shop+shop.prom",
        "holdfast__room+shop.prom",
        "holdfast__verify+shop.prom",
    }
    for path in made:
        expected = 0o644 if path in public else 0o700 if path.is_dir() else 0o600
        assert oct(stat.S_IMODE(path.stat().st_mode)) == oct(expected), path
    assert {Path(got), Path(key)} < made
    assert any(path.is_relative_to(cli.folder / "state") for path in made)
