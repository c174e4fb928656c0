"""`holdfast session ...` as an operator uses it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.daemon.listener import Listener
from holdfast.daemon.main import own_socket
from holdfast.daemon.peer_auth import PeerAuthority
from holdfast.daemon.session_manager import SessionManager
from holdfast.daemon.session_store import JobSessions, SessionLimits, SessionStore
from holdfast.ports.sessions import HeldKind
from holdfast.runtime import clock
from tests.fakes.holder import FakeHolder
from tests.support.command_line import CommandLine

SESSION_ID = "0" * 31 + "1"


@pytest.fixture
def served(cli: CommandLine, tmp_path: Path) -> Iterator[CommandLine]:
    """The command line beside a daemon whose servers are in memory."""
    path, holder, ends = tmp_path / "sessiond", FakeHolder(), threading.Event()
    cli.config.write_text(f"{cli.config.read_text()}sessions: {{socket: {path}}}\n")
    authority = PeerAuthority(own_uid=os.geteuid(), group=None, admin_group=None)
    store = SessionStore(tmp_path / "sessions.sqlite")
    manager = SessionManager(
        store=store,
        authority=authority,
        sessions_of=lambda _job: JobSessions(holder=holder, kind=HeldKind.BACKUP),
        limits=SessionLimits(per_server=1, longest=timedelta(days=1)),
        clock=clock.now,
        new_id=lambda: SESSION_ID,
    )
    listener = Listener(manager, authority)
    with own_socket(path, group=None) as listening:
        listening.settimeout(0.02)

        def serve() -> None:
            while not ends.is_set():
                try:
                    listener.accept(listening)
                except TimeoutError:
                    continue

        thread = threading.Thread(target=serve)
        thread.start()
        yield cli
        ends.set()
        thread.join()
    store.close()


def test_a_session_is_begun_listed_and_ended_with_its_label(served: CommandLine) -> None:
    begun = served.holdfast("session", "begin", "--job", "shop", "--ttl", "90m")
    assert begun.exit_code == 0, begun.stderr
    assert begun.stdout.splitlines()[:2] == [f"begun {SESSION_ID}", "backup 0/3000028, timeline 1"]
    listed = served.holdfast("session", "list")
    assert SESSION_ID in listed.stdout
    full = served.holdfast("session", "begin", "--job", "shop")
    assert (full.exit_code, "1 are held" in full.stderr) == (65, True)
    ended = served.holdfast("session", "end", SESSION_ID)
    assert "backup_label:\nSTART WAL LOCATION" in ended.stdout
    again = served.holdfast("session", "end", SESSION_ID, "--json")
    assert again.document["backup_label"] in ended.stdout
    gone = served.holdfast("session", "join", SESSION_ID, "--json")
    assert (gone.exit_code, gone.document["exit_code"]) == (60, 60)


def test_documents_say_all_that_a_script_needs(served: CommandLine) -> None:
    begun = served.holdfast("session", "begin", "--job", "shop", "--json").document
    assert begun["schema"] == "holdfast.session/1"
    assert (begun["act"], begun["state"], begun["ttl_seconds"]) == ("begun", "open", 6 * 3600)
    served.holdfast("session", "heartbeat", SESSION_ID)
    served.holdfast("session", "abort", SESSION_ID)
    document = served.holdfast("session", "list", "--all", "--json").document
    assert document["schema"] == "holdfast.session-list/1"
    (session,) = document["sessions"]
    assert (session["state"], session["session_id"]) == ("aborted", SESSION_ID)
    assert served.holdfast("session", "list", "--json").document["sessions"] == []


def test_without_a_daemon_its_unit_is_named(cli: CommandLine) -> None:
    cli.config.write_text(f"{cli.config.read_text()}sessions: {{socket: /nowhere/socket}}\n")
    answer = cli.holdfast("session", "list")
    assert answer.exit_code == 66
    assert "systemctl enable --now holdfast-sessiond.socket" in answer.stderr


def test_a_time_that_is_none_is_a_mistake_of_the_command_line(cli: CommandLine) -> None:
    answer = cli.holdfast("session", "begin", "--job", "shop", "--ttl", "soon")
    assert answer.exit_code == 2
    assert "is not a duration" in answer.stderr
