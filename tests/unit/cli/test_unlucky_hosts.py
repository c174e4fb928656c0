"""Misconfigured hosts get the exit code of their mistake, and never that of a bug."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine

PROJECT = Path(__file__).resolve().parents[3]
ALONE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
PROGRAM = """
import sys
from tests.fakes.source import FakeSource, table
from holdfast.wiring import sources as wiring_sources
from holdfast.cli.main import main
from holdfast.config.sources import PostgresSettings

wiring_sources.SOURCES[PostgresSettings] = lambda *_: FakeSource(table("orders", "1"))
main()
"""


def test_without_proc_a_backup_says_what_to_mount(cli: CommandLine) -> None:
    tried = subprocess.run([*ALONE, "true"], capture_output=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"this host lets nobody mount in a namespace: {tried.stderr.decode()}")
    call = [sys.executable, "-c", PROGRAM, "--config", str(cli.config), "backup", "shop"]
    done = subprocess.run(
        [*ALONE, "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh", *call],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 10, done.stderr
    assert "error: cannot identify this process" in done.stderr
    assert "mount -t proc proc /proc" in done.stderr


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_ends_with_10(cli: CommandLine, content: str | None) -> None:
    path = cli.folder / "ca.pem"
    if content is not None:
        path.write_text(content)
    text = cli.config.read_text().partition("  main:")
    store = (
        f"  main: {{kind: s3, bucket: b, endpoint: 'https://localhost', ca_file: {path}}}\njobs:"
    )
    cli.config.write_text(text[0] + store + text[2].partition("\njobs:")[2])
    for call in (["check"], ["config", "check", str(cli.config)], ["backup", "shop"], ["list"]):
        answer = cli.holdfast(*call)
        assert answer.exit_code == 10, call
        assert f"ca_file '{path}'" in answer.stdout + answer.stderr
