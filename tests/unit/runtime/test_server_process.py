"""A server process: waits without polling, its end, its reaping, and a clean environment."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from holdfast.runtime import server_process
from holdfast.runtime.server_process import ServerProcess
from tests.support.waiting import WAIT_SECONDS, until

SAYS = "import socket, os; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
SAYS += "s.connect(os.environ['NOTIFY_SOCKET'])\n"
WAITS = "import signal; signal.pause()\n"


def started(folder: Path, program: str) -> ServerProcess:
    argv = [sys.executable, "-c", program]
    return ServerProcess.started(argv, folder=folder, notices_in=folder, log=folder / "log")


@pytest.fixture
def never_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause has a timeout, so only a notice or the end of the process ends a wait."""
    monkeypatch.setattr(server_process, "ASK_AGAIN_SECONDS", WAIT_SECONDS)


@pytest.mark.usefixtures("never_again")
def test_a_notice_of_the_server_ends_the_wait(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    program = f"{SAYS}open({str(ready)!r}, 'w').close()\ns.send(b'READY=1')\n{WAITS}"
    server = started(tmp_path, program)
    began = time.monotonic()
    assert server.wait(ready.exists, within_seconds=WAIT_SECONDS)
    assert time.monotonic() - began < WAIT_SECONDS / 2
    server.end()
    assert not server.is_running
    with pytest.raises(ChildProcessError):
        os.waitpid(server.pid, 0)
    server.close()


@pytest.mark.usefixtures("never_again")
def test_the_end_of_the_server_ends_the_wait(tmp_path: Path) -> None:
    server = started(tmp_path, "import sys; sys.exit('no such table space')")
    began = time.monotonic()
    assert not server.wait(lambda: False, within_seconds=WAIT_SECONDS)
    assert time.monotonic() - began < WAIT_SECONDS / 2
    assert "no such table space" in (tmp_path / "log").read_text()
    server.close()


def test_a_server_that_says_nothing_is_asked_again(tmp_path: Path) -> None:
    answers = iter([False, False, True])
    server = started(tmp_path, WAITS)
    assert server.wait(lambda: next(answers), within_seconds=WAIT_SECONDS)
    assert next(answers, None) is None
    server.end()
    server.close()


def test_a_server_that_is_never_ready_is_not_waited_for_any_longer(tmp_path: Path) -> None:
    server = started(tmp_path, WAITS)
    assert not server.wait(lambda: False, within_seconds=0.1)
    assert server.is_running
    server.end()
    server.close()


def test_a_server_that_ignores_the_polite_signal_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    server = started(tmp_path, f"{deaf}open({str(ready)!r}, 'w').close()\n{WAITS}")
    assert server.wait(ready.exists, within_seconds=WAIT_SECONDS)
    server.end(signal.SIGTERM, within_seconds=0.1)
    assert not server.is_running
    server.end()
    server.close()


def test_a_server_works_in_its_folder_and_sees_none_of_our_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setenv("MYSQL_HOME", "/etc/production")
    out = tmp_path / "seen"
    program = "import json, os; print(json.dumps([os.getcwd(), dict(os.environ)]), flush=True)"
    server = started(tmp_path, f"{program}\nopen({str(out)!r}, 'w').close()\n{WAITS}")
    until(out.exists)
    place, seen = json.loads((tmp_path / "log").read_text())
    server.end()
    server.close()
    assert place == str(tmp_path)
    assert sorted(seen) == ["HOME", "LC_ALL", "NOTIFY_SOCKET", "PATH", "TMPDIR"]
