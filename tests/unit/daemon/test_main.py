"""The file descriptors that systemd passes to the daemon, and what the daemon reports to it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from holdfast.daemon.main import Systemd, inherited_socket
from holdfast.model.errors import ConfigInvalid


def test_a_socket_meant_for_another_process_is_not_ours() -> None:
    assert inherited_socket({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) is None
    assert inherited_socket({}) is None


def test_more_than_one_socket_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="2 sockets"):
        inherited_socket({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"})


@pytest.mark.parametrize("is_abstract", [False, True])
def test_systemd_hears_that_we_live(tmp_path: Path, *, is_abstract: bool) -> None:
    name = f"@holdfast-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name[1:] if is_abstract else name)
        systemd.settimeout(10)
        supervisor = Systemd({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "30000000"})
        supervisor.tell("READY=1", "STATUS=serving")
        assert systemd.recv(100) == b"READY=1\nSTATUS=serving"
    assert supervisor.heartbeat_seconds == 10.0


def test_without_systemd_nothing_is_told_and_no_heartbeat_is_due() -> None:
    supervisor = Systemd({})
    supervisor.tell("READY=1")
    assert supervisor.heartbeat_seconds is None
    assert Systemd({"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}).heartbeat_seconds is None
