"""Pipes that a killed run left are released, also by what its systemd unit runs last."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.runtime.named_pipes import PREFIX, pipes_for
from tests.support.waiting import until

UNIT = Path(__file__).resolve().parents[3] / "roles/backup_runner/templates/parts/service.j2"
BLOCKED_SECONDS = 60


def ended_process() -> int:
    with subprocess.Popen(["true"]) as child:
        child.wait()
    return child.pid


def pipe_of(pid: int, parent: Path) -> Path:
    folder = parent / f"{PREFIX}{pid}-x"
    folder.mkdir()
    os.mkfifo(folder / "0.pipe", 0o600)
    return folder / "0.pipe"


def sleeps(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


@contextmanager
def blocked_on(pipe: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits in open(2) of `pipe`, as a server does."""
    with subprocess.Popen(["sh", "-c", 'exec 3>"$1"', "server", str(pipe)]) as waiting:
        try:
            until(lambda: sleeps(waiting.pid))
            yield waiting
        finally:
            waiting.kill()


def last_command_of_unit() -> list[str]:
    (module,) = re.findall(r"^ExecStopPost=-.*'-m', '([\w.]+)'\]", UNIT.read_text(), re.MULTILINE)
    return [sys.executable, "-m", module]


def test_what_the_unit_runs_last_releases_a_server_that_waits_for_a_pipe(tmp_path: Path) -> None:
    pipe = pipe_of(ended_process(), tmp_path)
    with blocked_on(pipe) as waiting:
        environment = os.environ | {"RUNTIME_DIRECTORY": f"{tmp_path}:/run/other"}
        subprocess.run(last_command_of_unit(), env=environment, check=True)
        assert waiting.wait(BLOCKED_SECONDS) == 0
    assert list(tmp_path.iterdir()) == []


def test_pipes_of_a_run_in_progress_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    with pipes_for(os.geteuid()) as pipes, pipes.made() as path:
        subprocess.run(last_command_of_unit(), check=True)
        assert path.is_fifo()
    assert list(tmp_path.iterdir()) == []


def test_a_link_leads_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (tmp_path / f"{PREFIX}{ended_process()}-x").symlink_to(elsewhere)
    with pipes_for(os.geteuid()):
        pass
    assert (elsewhere / "kept").exists()
