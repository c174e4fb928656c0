"""The daemon's socket as its client sees it."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from holdfast.daemon import listener as listeners
from holdfast.daemon.listener import MOST_AT_ONCE, MOST_OF_ONE, PATIENCE_SECONDS, Listener
from holdfast.daemon.main import own_socket
from holdfast.daemon.peer_auth import Peer, PeerAuthority
from holdfast.model.errors import (
    ConfigInvalid,
    RepositoryFull,
    SessionDaemonUnreachable,
    SessionNotFound,
    SessionRefused,
)
from holdfast.ports.sessions import HeldKind
from holdfast.sessions.client import RemoteHolder, SessionClient
from holdfast.sessions.protocol import MOST_ANSWER_BYTES, decode_answer
from tests.support.memory_daemon import ANNE, BERT, STRANGER, MemoryDaemon
from tests.support.other_user import NOBODY, open_folder, told_as_nobody
from tests.support.waiting import until

ASK = """
import sys
from pathlib import Path
from holdfast.sessions.client import SessionClient
step_down()
try:
    SessionClient(socket_path=Path(sys.argv[1])).listed(all_states=True)
except Exception as error:
    print(type(error).__name__, error)
"""


@contextmanager
def listening(
    daemon: MemoryDaemon,
    path: Path,
    authority: PeerAuthority | None = None,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Iterator[SessionClient]:
    """A daemon behind `path`."""
    listener = Listener(
        daemon.manager, authority or daemon.authority, patience_seconds=patience_seconds
    )
    ends = threading.Event()
    with own_socket(path, group=None) as served:
        served.settimeout(0.02)

        def serve() -> None:
            while not ends.is_set():
                try:
                    listener.accept(served)
                except TimeoutError:
                    continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield SessionClient(socket_path=path)
        finally:
            ends.set()
            thread.join()


@pytest.fixture
def client(daemon: MemoryDaemon, tmp_path: Path) -> Iterator[SessionClient]:
    with listening(daemon, tmp_path / "socket") as found:
        yield found


def test_every_verb_goes_over_the_socket_and_back(client: SessionClient) -> None:
    begun = client.begin(job="shop", label="night", kind=None, fast=True, ttl_seconds=60)
    assert client.join(begun.session_id).begun == begun.begun
    assert client.heartbeat(begun.session_id).is_open
    assert [each.session_id for each in client.listed(all_states=False)] == [begun.session_id]
    record = client.end(begun.session_id)
    assert (record.owner, record.ended.stop_lsn) == (os.geteuid(), "0/3000100")
    other = client.begin(job="shop", label="", kind=HeldKind.SNAPSHOT, fast=False, ttl_seconds=60)
    assert client.abort(other.session_id).state == "aborted"
    assert client.listed(all_states=False) == []


def test_errors_arrive_as_they_were_raised(client: SessionClient) -> None:
    with pytest.raises(SessionNotFound, match="no session has this id") as caught:
        client.end("0" * 32)
    assert "holdfast session list" in caught.value.hint


def test_a_full_state_folder_is_reported_to_the_client_and_leaves_no_backup_begun(
    daemon: MemoryDaemon, client: SessionClient
) -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(daemon.store, "put", lambda _record: raising(full))
        with pytest.raises(RepositoryFull, match="database or disk is full"):
            client.begin(job="shop", label="", kind=None, fast=True, ttl_seconds=60)
    assert client.listed(all_states=True) == []
    assert client.begin(job="shop", label="", kind=None, fast=True, ttl_seconds=60).is_open


def raising(error: Exception) -> None:
    raise error


def test_a_holder_in_another_process_is_one_like_any_other(
    client: SessionClient, daemon: MemoryDaemon
) -> None:
    holder = RemoteHolder(client=client, job="shop", ttl_seconds=60)
    holding = holder.begin(HeldKind.BACKUP, label="night", fast=True)
    holding.look()
    (session,) = client.listed(all_states=False)
    assert holder.join(session.session_id).end().stop_lsn == "0/3000100"
    holding.abort()
    assert daemon.holder.open_sessions == 0


def test_without_a_group_the_socket_is_the_daemons_own(
    daemon: MemoryDaemon, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    with listening(daemon, path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.root
def test_a_user_outside_the_group_is_refused_by_the_mode_and_by_the_daemon(
    daemon: MemoryDaemon,
) -> None:
    with open_folder() as folder:
        path = folder / "socket"
        with listening(daemon, path):
            refused = told_as_nobody(ASK, str(path))
            assert refused.startswith("SessionRefused cannot reach the session daemon")
            path.chmod(0o666)
            assert "not a member of the daemon's group" in told_as_nobody(ASK, str(path))
        path.unlink()
        session_id = daemon.begin()
        members = PeerAuthority(own_uid=0, group=NOBODY, admin_group=None)
        with listening(daemon, path, members):
            path.chmod(0o666)
            told = told_as_nobody(ASK, str(path))
            assert told == "", "a member sees a list, and nothing of others in it"
            assert daemon.told(session_id)[0] == "open"


def test_a_client_that_vanishes_before_it_hears_its_id_leaves_no_session(
    client: SessionClient, daemon: MemoryDaemon
) -> None:
    daemon.holder.gate.clear()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hasty:
        hasty.connect(str(client.socket_path))
        hasty.sendall(b'{"version": 1, "verb": "begin", "job": "shop", "ttl_seconds": 60}\n')
    daemon.holder.gate.set()
    until(lambda: bool(daemon.holder.holdings) and daemon.holder.open_sessions == 0)
    assert client.listed(all_states=False) == []


@pytest.mark.parametrize(
    "line",
    [
        b"what?\n",
        b"[]\n",
        b'{"version": 2, "verb": "list"}\n',
        b'{"version": 1, "verb": "steal"}\n',
        b'{"version": 1, "verb": "begin", "ttl_seconds": "long"}\n',
        b'{"version": 1, "verb": "end", "session_id": {}}\n',
    ],
)
def test_nonsense_is_answered_and_harms_nobody(client: SessionClient, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(client.socket_path))
        connection.sendall(line)
        answer = connection.makefile("rb").readline(MOST_ANSWER_BYTES)
    with pytest.raises(ConfigInvalid, match="cannot understand the request"):
        decode_answer(answer)
    assert client.listed(all_states=True) == []


def test_a_daemon_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(SessionDaemonUnreachable, match="No such file") as caught:
        SessionClient(socket_path=tmp_path / "none").listed(all_states=False)
    assert "systemctl" in caught.value.hint


def test_two_daemons_do_not_share_a_socket_and_a_dead_one_is_replaced(
    daemon: MemoryDaemon, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    with listening(daemon, path), pytest.raises(ConfigInvalid, match="Address already in use"):
        own_socket(path, group=None)
    with listening(daemon, path) as client:
        assert client.listed(all_states=False) == []


def test_refusals_name_who_was_refused(daemon: MemoryDaemon) -> None:
    with pytest.raises(SessionRefused, match="cannot serve user '5004'"):
        daemon.authority.require_served(STRANGER)


def test_a_client_that_drips_bytes_is_hung_up_on_and_keeps_nobody_out(
    daemon: MemoryDaemon, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    with listening(daemon, path, patience_seconds=0.3) as client:
        with dripping(path, count=MOST_AT_ONCE) as ends:
            # All connections of this user; other users have their own, and these are freed soon.
            until(lambda: answers(client))
            assert not ends.is_set()
        assert client.listed(all_states=False) == []


@contextmanager
def dripping(path: Path, *, count: int) -> Iterator[threading.Event]:
    """`count` clients that send single bytes slowly, and never a whole line."""
    ends = threading.Event()
    clients = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(count)]

    def drip() -> None:
        while not ends.wait(0.05):
            for each in clients:
                with suppress(OSError):
                    each.send(b" ")

    for each in clients:
        each.connect(str(path))
    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield ends
    finally:
        ends.set()
        thread.join()
        for each in clients:
            each.close()


def answers(client: SessionClient) -> bool:
    try:
        client.listed(all_states=False)
    except SessionDaemonUnreachable:
        return False
    return True


def test_one_user_cannot_take_the_places_of_others(daemon: MemoryDaemon) -> None:
    listener = Listener(daemon.manager, daemon.authority)
    greedy = [listener.admitted(BERT) for _ in range(MOST_AT_ONCE)]
    assert sum(greedy) == MOST_OF_ONE
    assert listener.admitted(ANNE)
    others = [Peer(pid=1, uid=9000 + number, groups=frozenset()) for number in range(10)]
    taken = sum(listener.admitted(each) for each in others for _ in range(MOST_OF_ONE))
    assert taken == MOST_AT_ONCE - MOST_OF_ONE - 1
    # Other users cannot lock out the user who runs the daemon.
    assert listener.admitted(Peer(pid=1, uid=0, groups=frozenset()))
    listener.left(BERT)
    assert listener.admitted(BERT)


def test_a_refused_client_gets_the_reason(
    daemon: MemoryDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "MOST_AT_ONCE", 0)
    monkeypatch.setattr(listeners, "MOST_OF_ONE", 0)
    with (
        listening(daemon, tmp_path / "socket") as client,
        pytest.raises(SessionDaemonUnreachable, match="requests of this user"),
    ):
        client.listed(all_states=False)
