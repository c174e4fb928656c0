"""The processes of a folder are found by where they work and what they name, and only those."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.runtime.processes_below import (
    end_processes_below,
    memory_below,
    processes_below,
)

WAITS = "import sys; sys.stdout.write('x'); sys.stdout.flush(); sys.stdin.read()"
STUBBORN = f"import signal; signal.signal(signal.SIGQUIT, signal.SIG_IGN); {WAITS}"


@contextmanager
def waiting(
    *arguments: str, cwd: Path | None = None, script: str = WAITS
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits, once it is ready."""
    argv = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(argv, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.read(1)
            yield process
        finally:
            process.kill()


def test_processes_are_found_by_their_folder_and_their_arguments(tmp_path: Path) -> None:
    room, other = tmp_path / "room", tmp_path / "room-of-another"
    (room / "data").mkdir(parents=True)
    other.mkdir()
    with (
        waiting(cwd=room / "data") as working,
        waiting("-D", str(room / "data")) as naming,
        waiting(f"--datadir={room}") as setting,
        waiting(cwd=other),
        waiting(str(other)),
        waiting(f"about {room}"),
    ):
        assert set(processes_below(room)) == {working.pid, naming.pid, setting.pid}
        assert memory_below(room) > 1 << 20
        assert end_processes_below(room) == 3
        assert processes_below(room) == []
        assert processes_below(other) != []


def test_a_process_that_ignores_the_shutdown_is_killed(tmp_path: Path) -> None:
    with waiting(cwd=tmp_path, script=STUBBORN) as process:
        assert end_processes_below(tmp_path, within_seconds=0.2) == 1
        assert process.wait() == -9


def test_a_number_that_belongs_to_another_process_by_now_gets_no_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    with waiting(cwd=tmp_path) as stranger:
        listed = iter([[stranger.pid], [stranger.pid]])
        monkeypatch.setattr(
            f"{processes_below.__module__}.processes_below", lambda *_, **__: next(listed, [])
        )
        assert end_processes_below(room) == 1
        assert stranger.stdin is not None
        stranger.stdin.close()
        assert stranger.wait() == 0
