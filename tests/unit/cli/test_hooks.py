"""Hooks of a job, on the command line."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.waiting import until
from tests.unit.runtime.test_process import is_running


def configure(cli: CommandLine, stage: str, program: str) -> None:
    hook = f'    hooks: {{{stage}: [["{sys.executable}", "-c", "{program}"]]}}\n'
    cli.config.write_text(cli.config.read_text() + hook)


def test_a_hook_that_refuses_ends_the_command_with_its_own_code(cli: CommandLine) -> None:
    configure(cli, "before", "print(str(6 * 7)); raise SystemExit(3)")
    answer = cli.holdfast("--log-format", "json", "backup", "shop", "--json")
    assert answer.exit_code == answer.document["exit_code"] == 18
    assert "ended with status 3" in answer.document["error"]
    assert '"output": "42"' in answer.stderr
    assert cli.holdfast("list", "shop", "--json").document["backups"] == []


@pytest.mark.parametrize("as_json", [True, False])
def test_a_hook_that_fails_after_a_good_backup_is_told_and_the_code_is_0(
    cli: CommandLine, as_json: bool
) -> None:
    configure(cli, "after", "raise SystemExit(3)")
    answer = cli.holdfast("backup", "shop", *(["--json"] if as_json else []))
    assert answer.exit_code == 0
    told = answer.document["warnings"][0] if as_json else answer.stdout
    assert "(after) ended with status 3" in " ".join(told.split())


def test_check_names_a_hook_that_is_not_there(cli: CommandLine) -> None:
    text = "    hooks: {after: [[/usr/local/bin/not-there]]}\n"
    cli.config.write_text(cli.config.read_text() + text)
    answer = cli.holdfast("check", "shop", "--json")
    assert answer.exit_code == 14
    findings = answer.document["jobs"][0]["findings"]
    (found,) = [each for each in findings if each["subject"] == "hooks"]
    assert "/usr/local/bin/not-there" in found["problem"]


HANGS = """\
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid}")
time.sleep(600)
"""


def test_a_signal_while_a_hook_runs_ends_it_with_its_children(
    cli: CommandLine, tmp_path: Path
) -> None:
    """`before` runs before the database is asked for anything, so this is the whole program."""
    (tmp_path / "hook.py").write_text(HANGS)
    pids, undone = tmp_path / "pids", tmp_path / "undone"
    before = f'["{sys.executable}", "{tmp_path / "hook.py"}", "{pids}"]'
    hooks = f'    hooks: {{before: [{before}], failed: [["/usr/bin/touch", "{undone}"]]}}\n'
    cli.config.write_text(cli.config.read_text() + hooks)
    program = [sys.executable, "-c", "from holdfast.cli.main import main; main()"]
    running = subprocess.Popen(
        [*program, "--config", str(cli.config), "backup", "shop"], stderr=subprocess.PIPE
    )
    with running:
        until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 130
    for pid in map(int, pids.read_text().split()):
        until(lambda pid=pid: not is_running(pid))  # type: ignore[misc]
    assert undone.exists(), "what `before` began is undone"
