"""A signal ends a run: real processes, real signals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine

PROJECT = Path(__file__).resolve().parents[3]

# A backup whose first table reports that it is being read, and then blocks until the abort.
PROGRAM = """
import dataclasses, sys, threading
from tests.fakes.source import FakeSource, table
from holdfast.wiring import sources as wiring_sources
from holdfast.cli.main import main
from holdfast.config.sources import PostgresSettings

class Telling(threading.Event):
    def wait(self, timeout=None):
        print("reading", flush=True)
        return super().wait(timeout)

stuck = dataclasses.replace(table("orders", "1", "2"), waits_for=Telling())
wiring_sources.SOURCES[PostgresSettings] = lambda *_: FakeSource(stuck)
main()
"""


@contextmanager
def a_backup_that_reads(cli: CommandLine) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "--config", str(cli.config), "backup", "shop"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_backup_cleanly_with_130(cli: CommandLine, number: signal.Signals) -> None:
    # Under nohup the tests ignore SIGHUP, and a child would inherit that.
    before = signal.signal(number, signal.default_int_handler)
    try:
        with a_backup_that_reads(cli) as process:
            process.send_signal(number)
            _, stderr = process.communicate(timeout=120)
    finally:
        signal.signal(number, before)
    assert process.returncode == 130
    assert f"error: cannot continue: interrupted by {number.name}\n" in stderr
    assert "Traceback" not in stderr
    left = [path.name for path in cli.repository.glob("shop/**/*") if path.is_file()]
    assert left == ["failed.json"]
    (run,) = [json.loads(line) for line in runs(cli)]
    assert (run["outcome"], run["exit_code"]) == ("failed", 130)


def test_under_nohup_a_closed_terminal_ends_nothing(cli: CommandLine) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with a_backup_that_reads(cli) as process:
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGTERM)
            _, stderr = process.communicate(timeout=120)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert "interrupted by SIGTERM" in stderr


def test_a_killed_backup_leaves_nothing_that_is_listed_and_the_next_run_tidies_up(
    cli: CommandLine,
) -> None:
    with a_backup_that_reads(cli) as process:
        process.kill()
        process.wait()
    assert "there are no backups yet" in cli.holdfast("list").stdout
    assert cli.holdfast("backup", "shop").exit_code == 0
    assert len(list(cli.repository.glob("shop/*"))) == 1


def test_while_one_process_backs_up_another_is_skipped_with_40(cli: CommandLine) -> None:
    with a_backup_that_reads(cli) as process:
        answer = cli.holdfast("backup", "shop")
        assert answer.exit_code == 40
        assert f"process {process.pid} has been running it since" in answer.stderr


def runs(cli: CommandLine) -> list[str]:
    return (cli.folder / "state/runs/shop.jsonl").read_text().splitlines()
