"""Sessions of a job that the daemon holds, as any other: `holding` over the socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from holdfast.model.errors import HoldfastError, SessionDaemonUnreachable, SessionNotFound
from holdfast.ports.sessions import RUN_LABEL, Begun, Ended, HeldKind, HeldState
from holdfast.runtime import events
from holdfast.runtime.clock import now
from holdfast.sessions.client import SessionClient
from holdfast.sessions.record import SessionRecord

PAUSE_SECONDS = 1.0
# How long the end of a backup waits for a daemon that is silent; no longer than the lease lasts.
END_SECONDS = 120.0


@dataclass(slots=True, kw_only=True)
class RemoteHolding:
    """Obeys `ports.sessions.Holding` for a session that the daemon holds.

    A daemon that cannot be asked has not lost it: it counts until its lease is over, and whether it
    did is told by the daemon itself.
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
                # Who asks again is told the same again.
                self.record = self.client.end(self.session_id, keep=True)
            except SessionDaemonUnreachable:
                tries -= 1
                if tries < 1 or not self._is_leased:
                    raise
                self.sleep(PAUSE_SECONDS)
            else:
                return self.record.ended

    def abort(self) -> None:
        # Nothing to do where it is gone; where the daemon is silent the lease ends it.
        with suppress(HoldfastError):
            self.client.abort(self.session_id)

    @property
    def _is_leased(self) -> bool:
        return self.clock() < self.record.lease_until


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteHolder:
    """Obeys `ports.sessions.Holder`: sessions of one job, held by the daemon."""

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
            # Whoever ended it may have been killed before all was stored that comes after.
            record = self.client.end(session_id, keep=True)
        return RemoteHolding(client=self.client, record=record)

    def left(self) -> Sequence[str]:
        """Those that are still held: what is ended may be kept for its WAL."""
        held = (HeldState.OPEN, HeldState.ENDED)
        return [
            each.session_id
            for each in self.client.listed(all_states=False)
            if (each.job, each.label) == (self.job, RUN_LABEL) and each.state in held
        ]

    def forget(self, session_id: str) -> None:
        self.client.abort(session_id)
