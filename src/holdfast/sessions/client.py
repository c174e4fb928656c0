"""The session daemon as its callers see it: one connection a question."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.model.errors import SessionDaemonUnreachable, SessionRefused
from holdfast.ports.sessions import HeldKind
from holdfast.sessions.protocol import (
    MOST_ANSWER_BYTES,
    Request,
    Verb,
    decode_answer,
    encode_request,
)
from holdfast.sessions.record import SessionRecord, from_document

# A spread checkpoint may take as long as checkpoint_timeout: a day at most.
BEGIN_SECONDS = 86_400.0
# The end of a backup waits for WAL to be switched, nothing slower.
ANSWER_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClient:
    """Asks the daemon behind `socket_path`; every method raises what the daemon raises.

    Besides `SessionDaemonUnreachable` where nobody answers and `SessionRefused` where this user
    may not ask.
    """

    socket_path: Path

    def begin(
        self,
        *,
        job: str,
        label: str,
        kind: HeldKind | None,
        fast: bool,
        ttl_seconds: int,
        database: str = "",
    ) -> SessionRecord:
        request = Request(
            verb=Verb.BEGIN,
            job=job,
            label=label,
            kind=kind.value if kind else "",
            database=database,
            fast=fast,
            ttl_seconds=ttl_seconds,
        )
        return self._record(request, seconds=BEGIN_SECONDS)

    def join(self, session_id: str) -> SessionRecord:
        """Renews the lease as a heartbeat does."""
        return self._record(Request(verb=Verb.JOIN, session_id=session_id))

    def heartbeat(self, session_id: str) -> SessionRecord:
        return self._record(Request(verb=Verb.HEARTBEAT, session_id=session_id))

    def end(self, session_id: str, *, keep: bool = False) -> SessionRecord:
        """Says the same again to whoever did not hear the answer."""
        return self._record(Request(verb=Verb.END, session_id=session_id, keep=keep))

    def abort(self, session_id: str) -> SessionRecord:
        return self._record(Request(verb=Verb.ABORT, session_id=session_id))

    def listed(self, *, all_states: bool) -> list[SessionRecord]:
        """Newest first: one's own, or everybody's for an admin."""
        answer = self._ask(Request(verb=Verb.LIST, all=all_states))
        return [from_document(each) for each in answer["sessions"]]

    def _record(self, request: Request, *, seconds: float = ANSWER_SECONDS) -> SessionRecord:
        return from_document(self._ask(request, seconds=seconds)["session"])

    def _ask(self, request: Request, *, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(seconds)
            try:
                connection.connect(str(self.socket_path))
                # Whoever is turned away has its answer before it has asked.
                with suppress(BrokenPipeError):
                    connection.sendall(encode_request(request))
                with connection.makefile("rb") as answers:
                    line = answers.readline(MOST_ANSWER_BYTES)
            except PermissionError as error:
                raise SessionRefused(
                    f"cannot ask the session daemon at '{self.socket_path}': "
                    f"{os.strerror(error.errno or 0)}",
                    hint="the socket is open to the daemon's own user and its group",
                ) from error
            except OSError as error:
                raise self._silent(error) from error
        if not line.endswith(b"\n"):
            raise self._silent(OSError("it hung up"))
        return decode_answer(line)

    def _silent(self, error: OSError) -> SessionDaemonUnreachable:
        cause = os.strerror(error.errno) if error.errno else str(error)
        return SessionDaemonUnreachable(
            f"cannot ask the session daemon at '{self.socket_path}': {cause}",
            hint="start it: systemctl enable --now holdfast-sessiond.socket",
        )
