"""The socket: one short question a connection, each in a thread of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from holdfast import events
from holdfast.cleanup import afterwards, on_failure
from holdfast.errors import HoldfastError, SessionRefused
from holdfast.kernel import foreseen
from holdfast.session.protocol import (
    MOST_REQUEST_BYTES,
    Request,
    Verb,
    decode_request,
    encode_answer,
    encode_error,
)
from holdfast.session.record import SessionRecord, to_document
from holdfast.sessiond.authority import Authority, Peer, peer_of
from holdfast.sessiond.keeper import Keeper

# Whoever connects has its question ready.
PATIENCE_SECONDS = 10.0
MOST_AT_ONCE = 64


class Listener:
    """Answers what comes over a socket, to those whom `authority` lets in."""

    def __init__(self, keeper: Keeper, authority: Authority) -> None:
        self._keeper = keeper
        self._authority = authority
        self._slots = threading.BoundedSemaphore(MOST_AT_ONCE)

    def accept(self, listening: socket.socket) -> None:
        """Take the connection that waits, if one does."""
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        if not self._slots.acquire(blocking=False):
            connection.close()
            events.warning("session_client_turned_away", at_once=MOST_AT_ONCE)
            return
        threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with afterwards(self._slots.release), connection:
            connection.settimeout(PATIENCE_SECONDS)
            # A client that hangs up or says nothing has only itself to blame.
            with suppress(OSError):
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        peer = peer_of(connection)
        undo: Callable[[], object] = _nothing
        try:
            # Heard out first: whoever is hung up on while asking never hears why.
            with connection.makefile("rb") as questions:
                line = questions.readline(MOST_REQUEST_BYTES)
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
            bug = HoldfastError(f"cannot go on: {type(error).__name__}: {error}")
            answer = encode_error(foreseen(error) or bug)
        # Nobody heard the id, so nobody could ever end it.
        with on_failure(undo):
            connection.sendall(answer)

    def _answered(
        self, request: Request, peer: Peer
    ) -> tuple[dict[str, Any], Callable[[], object]]:
        """The answer, and what to undo where it cannot be delivered."""
        keeper, session_id = self._keeper, request.session_id
        if request.verb is Verb.LIST:
            found = keeper.listed(peer, all_states=request.all)
            return {"sessions": [to_document(each) for each in found]}, _nothing
        if request.verb is Verb.BEGIN:
            record = keeper.begin(request, peer)
            return _of(record), lambda: keeper.abort(record.session_id, peer)
        if request.verb is Verb.END:
            return _of(keeper.end(session_id, peer, keep=request.keep)), _nothing
        if request.verb is Verb.ABORT:
            return _of(keeper.abort(session_id, peer)), _nothing
        act = "session_joined" if request.verb is Verb.JOIN else "session_renewed"
        return _of(keeper.renew(session_id, peer, act=act)), _nothing


def _of(record: SessionRecord) -> dict[str, Any]:
    return {"session": to_document(record)}


def _nothing() -> None:
    """An answer that got lost can be asked for again."""
