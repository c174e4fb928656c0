"""Begins, renews, watches and ends the held sessions."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from holdfast.daemon.peer_auth import Peer, PeerAuthority, user_name
from holdfast.daemon.session_store import (
    WITH_DEAD,
    HeldSession,
    JobSessions,
    SessionLimits,
    SessionStore,
    fields_of,
    require_open,
)
from holdfast.model.errors import (
    DatabaseUnreachable,
    HoldfastError,
    SessionCorrupt,
    SessionLimit,
    SessionLost,
    SessionNotFound,
)
from holdfast.ports.run import Clock
from holdfast.ports.sessions import HeldKind, HeldState, Holding
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards, on_failure
from holdfast.runtime.worker_pool import is_started
from holdfast.sessions.protocol import Request, SessionRecord

# How long the record of an ended session stays in the store.
REMEMBERED = timedelta(days=30)


class SessionManager:
    """Holds sessions for other processes; all methods may be called from any thread."""

    def __init__(
        self,
        *,
        store: SessionStore,
        authority: PeerAuthority,
        sessions_of: Callable[[str], JobSessions],
        limits: SessionLimits,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._authority = authority
        self._sessions_of = sessions_of
        self._limits = limits
        self._clock = clock
        self._new_id = new_id
        self._lock = threading.Lock()
        self._kept: dict[str, HeldSession] = {}
        self._beginning: list[str] = []
        self._is_recovered = False
        self._keeping_books = threading.Lock()

    def recover(self) -> None:
        """Mark the sessions of an earlier daemon as lost; if that fails, the next round retries."""
        reason = "the daemon that held it ended, and the database session with it"
        with self._lock:
            ours = set(self._kept)
        try:
            lost = self._store.lose_all(reason, now=self._clock(), but=ours)
        except (HoldfastError, sqlite3.Error) as error:
            events.warning("session_store_not_read", problem=str(error))
            return
        self._is_recovered = True
        for record in lost:
            events.warning("session_lost", **fields_of(record), reason=reason)

    def begin(self, request: Request, peer: Peer) -> SessionRecord:
        """Begin a session and store its record.

        Raises `SessionLimit`, what `Holder.begin` raises, and what `SessionStore.put` raises.
        """
        of_job = self._sessions_of(request.job)
        server = of_job.holder.server
        self._reserve(server)
        with afterwards(self._unreserve, server):
            kind = HeldKind(request.kind) if request.kind else of_job.kind
            holding = of_job.holder.begin(
                kind, label=request.label, fast=request.fast, database=request.database
            )
            with on_failure(holding.abort):
                kept = HeldSession(
                    self._described(request, peer, server, holding=holding), holding, self._clock()
                )
                self._store.put(kept.record)
            with self._lock:
                self._kept[kept.record.session_id] = kept
        events.info("session_begun", **fields_of(kept.record), by=_who(peer))
        return kept.record

    def _unreserve(self, server: str) -> None:
        with self._lock:
            self._beginning.remove(server)

    def renew(self, session_id: str, peer: Peer, *, act: str) -> SessionRecord:
        """Check that the session is still valid, and renew its lease to the full length."""
        kept = self._open(session_id, peer)
        with kept.lock:
            require_open(kept.record)
            self._looked_at(kept)
            kept.record, kept.renewed = self._leased(kept.record), self._clock()
            self._store.keep(kept.record)
        events.info(act, **fields_of(kept.record), by=_who(peer))
        return kept.record

    def end(self, session_id: str, peer: Peer, *, keep: bool = False) -> SessionRecord:
        """End a session; may be called again, because the first answer may be lost.

        With `keep` the session stays on the server, for its WAL, until its lease expires.
        """
        record = self._known(session_id, peer)
        if record.state is HeldState.ENDED and self._kept_as(session_id) is None:
            return record
        kept = self._open(session_id, peer)
        with kept.lock:
            if kept.record.state is not HeldState.ENDED:
                self._end(kept, peer)
            if not keep:
                self._release(kept)
        return kept.record

    def abort(self, session_id: str, peer: Peer) -> SessionRecord:
        """Abort a session; may be called again, and does nothing if the session is gone."""
        record = self._known(session_id, peer)
        kept = self._kept_as(session_id)
        if kept is None:
            return record
        with kept.lock:
            if kept.record.is_open:
                self._put(kept, HeldState.ABORTED, f"aborted by user '{user_name(peer.uid)}'")
                events.info("session_aborted", **fields_of(kept.record), by=_who(peer))
            self._release(kept)
        return kept.record

    def listed(self, peer: Peer, *, all_states: bool) -> list[SessionRecord]:
        """The sessions that `peer` may see, newest first.

        Without `all_states` only those held now, also when the backup has ended and only its WAL is
        kept.
        """
        found = self._store.listed(all_states=True) if all_states else self._held()
        return [record for record in found if self._authority.may_see(peer, record)]

    def _held(self) -> list[SessionRecord]:
        """The records of the sessions held now, newest first."""
        with self._lock:
            records = [kept.record for kept in self._kept.values()]
        held = [each for each in records if each.is_open or each.state is HeldState.ENDED]
        return sorted(held, key=lambda each: (each.begun.begun_at, each.session_id), reverse=True)

    def round(self) -> list[threading.Thread]:
        """Check every session in a thread of its own; returns the threads without waiting.

        There is no worker pool: a server that does not answer then blocks its own session only.
        """
        with self._lock:
            idle = [kept for kept in self._kept.values() if not kept.lock.locked()]
        threads = [threading.Thread(target=self._tend, args=[kept], daemon=True) for kept in idle]
        threads.append(threading.Thread(target=self._keep_books, daemon=True))
        return [each for each in threads if is_started(each, otherwise="at the next round")]

    def _keep_books(self) -> None:
        """Retry what the store could not write before, and delete old records.

        The store's file may be locked by another process, so this has a thread of its own.
        """
        if not self._keeping_books.acquire(blocking=False):
            return
        with afterwards(self._keeping_books.release):
            if not self._is_recovered:
                self.recover()
            self._store.settle()
            try:
                self._store.forget(before=self._clock() - REMEMBERED)
            except (HoldfastError, sqlite3.Error) as error:
                events.warning("session_store_not_cleaned", problem=str(error))

    def stop(self) -> None:
        """End all held sessions, and record the open ones as lost: the daemon stops."""
        with self._lock:
            held = list(self._kept.values())
        for kept in held:
            # A session whose server does not answer ends with this process.
            if kept.lock.acquire(timeout=5):
                with afterwards(kept.lock.release):
                    kept.holding.abort()
                    if kept.record.is_open:
                        self._close(kept, HeldState.LOST, "the daemon was stopped")
        self._store.settle()

    def _tend(self, kept: HeldSession) -> None:
        with kept.lock:
            if not self._is_kept(kept):
                # It ended while this thread waited for the lock; a look would call it lost.
                return
            now, record = self._clock(), kept.record
            is_ended = record.state is HeldState.ENDED
            is_over = (record.is_open or is_ended) and now >= record.lease_until
            if is_over or now >= record.deadline:
                self._expire(kept)
                return
            if is_ended:
                return
            try:
                self._looked_at(kept)
            except HoldfastError as error:
                events.debug("session_not_usable", **fields_of(kept.record), error=error.message)

    def _end(self, kept: HeldSession, peer: Peer) -> None:
        require_open(kept.record)
        try:
            ended = kept.holding.end()
        except HoldfastError as error:
            raise self._failed(kept, error) from error
        kept.record = replace(self._leased(kept.record), ended=ended)
        self._put(kept, HeldState.ENDED, f"ended by user '{user_name(peer.uid)}'")
        events.info("session_ended", **fields_of(kept.record), by=_who(peer))

    def _release(self, kept: HeldSession) -> None:
        kept.holding.abort()
        self._drop(kept)

    def _expire(self, kept: HeldSession) -> None:
        kept.holding.abort()
        if not kept.record.is_open:
            self._drop(kept)
            return
        record = kept.record
        cause = "its deadline passed" if record.lease_until >= record.deadline else "no heartbeat"
        self._close(kept, HeldState.EXPIRED, f"{cause} until {self._clock():%Y-%m-%d %H:%M:%SZ}")
        events.warning("session_expired", **fields_of(kept.record), reason=cause)

    def _looked_at(self, kept: HeldSession) -> None:
        try:
            kept.holding.look()
        except HoldfastError as error:
            raise self._failed(kept, error) from error

    def _failed(self, kept: HeldSession, error: HoldfastError) -> HoldfastError:
        """Record why the session is unusable; returns the error to raise."""
        if isinstance(error, DatabaseUnreachable):
            # Not dropped: once the server answers again, a later look may find the cause.
            self._put(kept, HeldState.LOST, error.message)
            events.warning("session_lost", **fields_of(kept.record), reason=error.message)
            return SessionLost(error.message, hint="begin a new session when the server answers")
        state = HeldState.CORRUPT if isinstance(error, SessionCorrupt) else HeldState.LOST
        kept.holding.abort()
        self._close(kept, state, error.message)
        events.warning(f"session_{state.value}", **fields_of(kept.record), reason=error.message)
        return error

    def _close(self, kept: HeldSession, state: HeldState, reason: str) -> None:
        self._put(kept, state, reason)
        self._drop(kept)

    def _put(self, kept: HeldSession, state: HeldState, reason: str) -> None:
        ended_at = kept.record.ended_at or self._clock()
        kept.record = replace(kept.record, state=state, reason=reason, ended_at=ended_at)
        self._store.keep(kept.record)

    def _drop(self, kept: HeldSession) -> None:
        with self._lock:
            self._kept.pop(kept.record.session_id, None)

    def _reserve(self, server: str) -> None:
        held = self._reserved(server)
        if held:
            # Some may have expired or failed since the last round.
            for kept in held:
                if not kept.lock.locked():
                    self._tend(kept)
            held = self._reserved(server)
        if held:
            jobs = ", ".join(sorted({f"'{kept.record.job}'" for kept in held}))
            raise SessionLimit(
                f"cannot begin a session on '{server}': {self._limits.per_server} are"
                f" held, which is the limit; by jobs: {jobs}",
                hint="holdfast session list shows them; abort one, or raise sessions.per_server;"
                " holdfast repair JOB ends those of dead runs",
            )

    def _reserved(self, server: str) -> list[HeldSession]:
        """Reserve a place; returns an empty list, or the sessions that occupy all places."""
        with self._lock:
            held = [
                kept
                for kept in self._kept.values()
                if kept.record.server == server and kept.record.is_open
            ]
            most, beginning = self._limits.per_server, self._beginning.count(server)
            living = sum(kept.is_living(self._clock()) for kept in held)
            if living + beginning < most and len(held) + beginning < most * WITH_DEAD:
                self._beginning.append(server)
                return []
        return held

    def _described(
        self, request: Request, peer: Peer, server: str, *, holding: Holding
    ) -> SessionRecord:
        now = self._clock()
        record = SessionRecord(
            session_id=self._new_id(),
            job=request.job,
            label=request.label,
            server=server,
            owner=peer.uid,
            state=HeldState.OPEN,
            reason="",
            ttl_seconds=request.ttl_seconds,
            lease_until=now,
            deadline=now + self._limits.longest,
            begun=holding.begun,
        )
        return self._leased(record)

    def _leased(self, record: SessionRecord) -> SessionRecord:
        ttl = min(record.ttl_seconds, self._limits.longest.total_seconds())
        until = self._clock() + timedelta(seconds=ttl)
        return replace(record, lease_until=min(until, record.deadline))

    def _open(self, session_id: str, peer: Peer) -> HeldSession:
        record = self._known(session_id, peer)
        kept = self._kept_as(session_id)
        if kept is None:
            require_open(record)
            raise SessionLost(f"cannot use session '{session_id}': it is being ended")
        return kept

    def _known(self, session_id: str, peer: Peer) -> SessionRecord:
        kept = self._kept_as(session_id)
        record = kept.record if kept else self._store.find(session_id)
        if record is None:
            raise SessionNotFound(
                f"cannot find session '{session_id}': no session has this id",
                hint="holdfast session list shows the open ones",
            )
        self._authority.require_owner(peer, record)
        return record

    def _is_kept(self, kept: HeldSession) -> bool:
        return self._kept_as(kept.record.session_id) is kept

    def _kept_as(self, session_id: str) -> HeldSession | None:
        with self._lock:
            return self._kept.get(session_id)


def _who(peer: Peer) -> str:
    return f"{user_name(peer.uid)} (process {peer.pid})"
