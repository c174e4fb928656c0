"""The client of the session daemon, and sessions that the daemon holds."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from holdfast.model.errors import (
    HoldfastError,
    SessionDaemonUnreachable,
    SessionNotFound,
    SessionRefused,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.ports.sessions import RUN_LABEL, Begun, Ended, HeldKind, HeldState
from holdfast.runtime import events
from holdfast.runtime.clock import now
from holdfast.sessions.protocol import (
    MOST_ANSWER_BYTES,
    Request,
    SessionRecord,
    Verb,
    decode_answer,
    encode_request,
    from_document,
)

# A spread checkpoint may take up to checkpoint_timeout, which is at most one day.
BEGIN_SECONDS = 86_400.0
# The slowest of the other requests is the end of a backup, which waits for a WAL switch.
ANSWER_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClient:
    """Sends requests to the daemon behind `socket_path`, one for each connection.

    Every method raises the errors that the daemon returns, `SessionDaemonUnreachable` if it does
    not answer, and `SessionRefused` if this user may not open the socket.
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
        """The session with that id; renews its lease as a heartbeat does."""
        return self._record(Request(verb=Verb.JOIN, session_id=session_id))

    def heartbeat(self, session_id: str) -> SessionRecord:
        return self._record(Request(verb=Verb.HEARTBEAT, session_id=session_id))

    def end(self, session_id: str, *, keep: bool = False) -> SessionRecord:
        """End a session; may be called again, and then returns the same record.

        With `keep` the database session and its WAL stay until the lease expires.
        """
        return self._record(Request(verb=Verb.END, session_id=session_id, keep=keep))

    def abort(self, session_id: str) -> SessionRecord:
        return self._record(Request(verb=Verb.ABORT, session_id=session_id))

    def listed(self, *, all_states: bool) -> list[SessionRecord]:
        """The sessions of this user, or of all users for an admin; newest first."""
        answer = self._ask(Request(verb=Verb.LIST, all=all_states))
        return [from_document(each) for each in answer["sessions"]]

    def _record(self, request: Request, *, seconds: float = ANSWER_SECONDS) -> SessionRecord:
        return from_document(self._ask(request, seconds=seconds)["session"])

    def _ask(self, request: Request, *, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(seconds)
            try:
                connection.connect(str(self.socket_path))
                # A daemon that turns us away answers and closes before it reads the request.
                with suppress(BrokenPipeError):
                    connection.sendall(encode_request(request))
                with connection.makefile("rb") as answers:
                    line = answers.readline(MOST_ANSWER_BYTES)
            except PermissionError as error:
                raise SessionRefused(
                    f"cannot reach the session daemon at '{self.socket_path}': "
                    f"{os.strerror(error.errno or 0)}",
                    hint="the socket is open to the daemon's own user and its group",
                ) from error
            except OSError as error:
                raise self._silent(error) from error
        if not line.endswith(b"\n"):
            raise self._silent(OSError("it closed the connection without an answer"))
        return decode_answer(line)

    def _silent(self, error: OSError) -> SessionDaemonUnreachable:
        cause = os.strerror(error.errno) if error.errno else str(error)
        return SessionDaemonUnreachable(
            f"cannot reach the session daemon at '{self.socket_path}': {cause}",
            hint="start it: systemctl enable --now holdfast-sessiond.socket",
        )


PAUSE_SECONDS = 1.0
# How long the end of a backup retries while the daemon is silent, if the lease lasts as long.
END_SECONDS = 120.0


@dataclass(slots=True, kw_only=True)
class RemoteHolding:
    """Obeys `ports.sessions.Holding` for a session that the daemon holds.

    While the daemon does not answer, the session counts as valid until its lease expires. Only the
    daemon itself can say that it was lost earlier.
    """

    client: SessionClient
    record: SessionRecord
    clock: Callable[[], datetime] = now
    sleep: Callable[[float], None] = time.sleep

    @property
    def begun(self) -> Begun:
        return self.record.begun

    @property
    def session_id(self) -> str:
        return self.record.session_id

    @property
    def ended(self) -> Ended | None:
        return None if self.record.is_open else self.record.ended

    def look(self) -> None:
        try:
            self.record = self.client.heartbeat(self.session_id)
        except SessionDaemonUnreachable as error:
            if not self._is_leased:
                raise
            events.warning(
                "heartbeat_missed",
                session=self.session_id,
                lease_until=self.record.lease_until.isoformat(timespec="seconds"),
                problem=error.message,
            )

    def end(self) -> Ended:
        tries = int(END_SECONDS / PAUSE_SECONDS)
        while True:
            try:
                # Safe to repeat: the daemon returns the same result again.
                self.record = self.client.end(self.session_id, keep=True)
            except SessionDaemonUnreachable:
                tries -= 1
                if tries < 1 or not self._is_leased:
                    raise
                self.sleep(PAUSE_SECONDS)
            else:
                return self.record.ended

    def abort(self) -> None:
        # A session that is gone needs no abort; if the daemon is silent, the lease will end it.
        with suppress(HoldfastError):
            self.client.abort(self.session_id)

    @property
    def _is_leased(self) -> bool:
        return self.clock() < self.record.lease_until


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteHolder:
    """Obeys `ports.sessions.Holder` for one job, whose sessions the daemon holds."""

    client: SessionClient
    job: str
    ttl_seconds: int

    @property
    def server(self) -> str:
        return str(self.client.socket_path)

    def begin(self, kind: HeldKind, *, label: str, fast: bool, database: str = "") -> RemoteHolding:
        record = self.client.begin(
            job=self.job,
            label=label,
            kind=kind,
            database=database,
            fast=fast,
            ttl_seconds=self.ttl_seconds,
        )
        return RemoteHolding(client=self.client, record=record)

    def join(self, session_id: str) -> RemoteHolding:
        try:
            record = self.client.join(session_id)
        except SessionNotFound:
            # A run may have ended it and been killed before it stored the closing parts.
            record = self.client.end(session_id, keep=True)
        return RemoteHolding(client=self.client, record=record)

    def left(self) -> Sequence[str]:
        """The ids of held sessions of this job's runs, including those kept only for their WAL."""
        held = (HeldState.OPEN, HeldState.ENDED)
        return [
            each.session_id
            for each in self.client.listed(all_states=False)
            if (each.job, each.label) == (self.job, RUN_LABEL) and each.state in held
        ]

    def forget(self, session_id: str) -> None:
        self.client.abort(session_id)
