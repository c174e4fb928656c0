"""Serves the socket: one request for each connection, each in a thread of its own."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from holdfast.daemon.peer_auth import Peer, PeerAuthority, peer_of, user_name
from holdfast.daemon.session_manager import SessionManager
from holdfast.model.errors import HoldfastError, SessionDaemonUnreachable, SessionRefused
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards, on_failure
from holdfast.runtime.kernel import TOO_MANY_FILES, foreseen
from holdfast.sessions.protocol import (
    MOST_REQUEST_BYTES,
    Request,
    SessionRecord,
    Verb,
    decode_request,
    encode_answer,
    encode_error,
    to_document,
)

# The time limit for a whole request, and for the whole answer: clients have theirs ready.
PATIENCE_SECONDS = 10.0
# Limits on open connections, in all and for one user, so that no user can lock out the others.
# Root and the daemon's own user are not counted, and may have MOST_AT_ONCE each.
MOST_AT_ONCE, MOST_OF_ONE = 64, 16
CHUNK_BYTES = 4096
BUSY_SECONDS = 0.1


class Listener:
    """Answers requests from a socket, for the users that `authority` admits."""

    def __init__(
        self,
        manager: SessionManager,
        authority: PeerAuthority,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._manager = manager
        self._authority = authority
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._served: Counter[int] = Counter()

    def accept(self, listening: socket.socket) -> None:
        """Accept the next connection and start its thread; returns at once if none waits."""
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in TOO_MANY_FILES:
                raise
            # The connection waits in the backlog until another one is closed.
            events.warning("session_client_not_accepted", problem=str(error))
            time.sleep(BUSY_SECONDS)
            return
        try:
            peer = peer_of(connection)
        except OSError:
            connection.close()
            return
        if not self.admitted(peer):
            self._turn_away(connection, peer)
            return
        try:
            threading.Thread(target=self._serve, args=[connection, peer], daemon=True).start()
        except RuntimeError as error:
            self.left(peer)
            self._turn_away(connection, peer, cause=str(error))

    def admitted(self, peer: Peer) -> bool:
        """Take a place for one more connection of that user; returns whether there was one."""
        with self._lock:
            others = sum(self._served.values()) - self._served[0] - self._served[os.geteuid()]
            is_spared = peer.uid in (0, os.geteuid())
            has_place = others < MOST_AT_ONCE and self._served[peer.uid] < MOST_OF_ONE
            if is_spared and self._served[peer.uid] < MOST_AT_ONCE:
                has_place = True
            if has_place:
                self._served[peer.uid] += 1
        return has_place

    def left(self, peer: Peer) -> None:
        """Free the place that `admitted` took."""
        with self._lock:
            self._served[peer.uid] -= 1
            self._served += Counter()

    def _turn_away(self, connection: socket.socket, peer: Peer, *, cause: str = "") -> None:
        """Close the connection; send the reason if that does not block."""
        cause = cause or "too many requests of this user are open"
        events.warning("session_client_refused", uid=peer.uid, pid=peer.pid, reason=cause)
        answer = encode_error(
            SessionDaemonUnreachable(
                f"cannot serve user '{user_name(peer.uid)}' now: {cause}", hint="try again"
            )
        )
        with connection, suppress(OSError):
            connection.settimeout(0)
            connection.send(answer)

    def _serve(self, connection: socket.socket, peer: Peer) -> None:
        # A client that hangs up or sends nothing causes an `OSError`, which harms nobody else.
        with afterwards(self.left, peer), connection, suppress(OSError):
            self._converse(connection, peer)

    def _heard(self, connection: socket.socket) -> bytes:
        """Read one line; raises `TimeoutError` if it is incomplete after `patience_seconds`."""
        ends = time.monotonic() + self._patience_seconds
        line = b""
        while not line.endswith(b"\n") and len(line) < MOST_REQUEST_BYTES:
            connection.settimeout(max(0.001, ends - time.monotonic()))
            chunk = connection.recv(min(CHUNK_BYTES, MOST_REQUEST_BYTES - len(line)))
            if not chunk:
                break
            line += chunk
            if time.monotonic() >= ends:
                raise TimeoutError
        return line

    def _converse(self, connection: socket.socket, peer: Peer) -> None:
        undo: Callable[[], object] = _nothing
        try:
            # Read the whole request first: closing while the client writes would lose the answer.
            line = self._heard(connection)
            self._authority.require_served(peer)
            if not line:
                return
            request = decode_request(line)
            content, undo = self._answered(request, peer)
            answer = encode_answer(content)
        except HoldfastError as error:
            if isinstance(error, SessionRefused):
                events.warning("session_refused", uid=peer.uid, pid=peer.pid, error=error.message)
            answer = encode_error(error)
        except Exception as error:  # noqa: BLE001 - told to whoever asked; the others are served on
            events.error("session_request_failed", error=f"{type(error).__name__}: {error}")
            bug = HoldfastError(f"cannot continue: {type(error).__name__}: {error}")
            answer = encode_error(foreseen(error) or bug)
        # If the answer to a begin is lost, no client knows the id, so nobody could end the session.
        # The timeout is for the whole answer.
        connection.settimeout(self._patience_seconds)
        with on_failure(undo):
            connection.sendall(answer)

    def _answered(
        self, request: Request, peer: Peer
    ) -> tuple[dict[str, Any], Callable[[], object]]:
        """The answer, and the undo to call if it cannot be delivered."""
        manager, session_id = self._manager, request.session_id
        if request.verb is Verb.LIST:
            found = manager.listed(peer, all_states=request.all)
            return {"sessions": [to_document(each) for each in found]}, _nothing
        if request.verb is Verb.BEGIN:
            record = manager.begin(request, peer)
            return _of(record), lambda: manager.abort(record.session_id, peer)
        if request.verb is Verb.END:
            return _of(manager.end(session_id, peer, keep=request.keep)), _nothing
        if request.verb is Verb.ABORT:
            return _of(manager.abort(session_id, peer)), _nothing
        act = "session_joined" if request.verb is Verb.JOIN else "session_renewed"
        return _of(manager.renew(session_id, peer, act=act)), _nothing


def _of(record: SessionRecord) -> dict[str, Any]:
    return {"session": to_document(record)}


def _nothing() -> None:
    """Undoes nothing: the client can repeat the request after a lost answer."""
