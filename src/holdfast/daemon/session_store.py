"""Held sessions, and their records in SQLite, which survive a crash of the daemon."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import field, replace
from datetime import datetime, timedelta
from pathlib import Path

from holdfast.model.errors import (
    ConfigInvalid,
    HoldfastError,
    SessionCorrupt,
    SessionDaemonUnreachable,
    SessionExpired,
    SessionLost,
    SessionNotFound,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.stored_json import parsed
from holdfast.ports.sessions import RUN_LABEL, HeldKind, HeldState, Holder, Holding
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.files import open_private
from holdfast.sessions.protocol import SessionRecord, from_document, to_document

_LAYOUT = 1
_CREATE = """
CREATE TABLE IF NOT EXISTS sessions (
    session_id TEXT PRIMARY KEY, state TEXT NOT NULL, begun_at TEXT NOT NULL, document TEXT NOT NULL
) WITHOUT ROWID
"""
_PUT = """
INSERT INTO sessions (session_id, state, begun_at, document) VALUES (?, ?, ?, ?)
ON CONFLICT (session_id) DO UPDATE SET state = excluded.state, document = excluded.document
"""


# SQLite's primary result codes for a file that another process has locked.
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_PRIMARY = 0xFF
BUSY_SECONDS = 5.0
# The limits of one list; the newest come first.
MOST_LISTED, MOST_LISTED_BYTES = 1000, 4 << 20


class SessionStore:
    """The records of sessions in one SQLite file, private to the daemon's user; thread-safe.

    Raises `ConfigInvalid` if the file cannot be used. `keep` holds a record in memory while the
    file cannot be written. The methods that read and write raise `SessionDaemonUnreachable` while
    another process has the file locked, and otherwise what SQLite raises.
    """

    def __init__(self, path: Path) -> None:
        os.close(open_private(path, os.O_RDWR))
        self._path = path
        self._lock = threading.Lock()
        self._owed: dict[str, SessionRecord] = {}
        self._next_try = 0.0
        try:
            self._database = sqlite3.connect(
                path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None
            )
            self._database.execute("PRAGMA synchronous = FULL")
            (layout,) = self._database.execute("PRAGMA user_version").fetchone()
            if layout not in (0, _LAYOUT):
                raise sqlite3.DatabaseError(f"its layout is {layout}, this release knows {_LAYOUT}")
            self._database.execute(_CREATE)
            self._database.execute(f"PRAGMA user_version = {_LAYOUT}")
        except sqlite3.Error as error:
            raise ConfigInvalid(
                f"cannot use the session store '{path}': {error}",
                hint="stop the daemon and move the file away: it holds session history only",
            ) from error

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def put(self, record: SessionRecord) -> None:
        """Store `record` in place of an earlier one; it is on disk when this returns."""
        with self._lock, self._translated():
            self._database.execute(_PUT, _row(record))

    def keep(self, record: SessionRecord) -> None:
        """Store `record`, or hold it in memory until the file can be written; never raises."""
        with self._lock:
            self._owed[record.session_id] = record
            if time.monotonic() >= self._next_try:
                self._settle()

    def settle(self) -> None:
        """Try to write the records that are held in memory; a failure is only logged."""
        with self._lock:
            self._settle()

    def find(self, session_id: str) -> SessionRecord | None:
        with self._lock:
            owed = self._owed.get(session_id)
        if owed is not None:
            return owed
        found = self._read("WHERE session_id = ?", session_id)
        return found[0] if found else None

    def listed(self, *, all_states: bool) -> list[SessionRecord]:
        """The records, newest first, up to `MOST_LISTED` and `MOST_LISTED_BYTES`."""
        order = f"ORDER BY begun_at DESC, session_id LIMIT {MOST_LISTED}"
        found = (
            self._read(order)
            if all_states
            else self._read(f"WHERE state = ? {order}", HeldState.OPEN.value)
        )
        with self._lock:
            latest = [self._owed.get(each.session_id, each) for each in found]
        return [each for each in latest if all_states or each.is_open]

    def lose_all(
        self, reason: str, *, now: datetime, but: Collection[str] = ()
    ) -> list[SessionRecord]:
        """Mark all open sessions except `but` as lost; returns their records."""
        lost = [
            replace(each, state=HeldState.LOST, reason=reason, ended_at=now)
            for each in self.listed(all_states=False)
            if each.session_id not in but
        ]
        for each in lost:
            self.put(each)
        return lost

    def forget(self, *, before: datetime) -> None:
        """Delete the records of sessions that began before `before` and are not open."""
        with self._lock, self._translated():
            self._database.execute(
                "DELETE FROM sessions WHERE begun_at < ? AND state <> ?",
                (before.isoformat(), HeldState.OPEN.value),
            )

    def _read(self, condition: str, *values: str) -> list[SessionRecord]:
        query = f"SELECT document FROM sessions {condition}"  # noqa: S608 - our own words, values apart
        found: list[SessionRecord | None] = []
        size_bytes = 0
        with self._lock, self._translated():
            rows = self._database.execute(query, values)
            with afterwards(rows.close):
                for (document,) in rows:
                    size_bytes += len(str(document))
                    if size_bytes > MOST_LISTED_BYTES:
                        break
                    found.append(_readable(document))
        return [each for each in found if each is not None]

    def _settle(self) -> None:
        """Write the owed records; after a failure they stay, and `keep` waits before it retries."""
        try:
            for record in list(self._owed.values()):
                self._database.execute(_PUT, _row(record))
                del self._owed[record.session_id]
        except sqlite3.Error as error:
            self._next_try = time.monotonic() + BUSY_SECONDS
            events.warning("session_store_not_written", path=str(self._path), problem=str(error))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & _PRIMARY not in _BUSY:
                raise
            raise SessionDaemonUnreachable(
                f"cannot use the session store '{self._path}': {error}",
                hint="another process has locked it, fuser -v shows which; held sessions stay open",
            ) from error


def _row(record: SessionRecord) -> tuple[str, str, str, str]:
    return (
        record.session_id,
        record.state.value,
        record.begun.begun_at.isoformat(),
        json.dumps(to_document(record)),
    )


def _readable(document: object) -> SessionRecord | None:
    """The record, or None if the document is damaged, so that a list has the others."""
    try:
        return from_document(parsed(str(document)))
    except (KeyError, TypeError, ValueError) as error:
        events.warning("session_not_readable", problem=str(error)[:200])
        return None


# A run that sends no heartbeat for so long is dead; its session waits for a run that resumes it.
SILENCE = timedelta(minutes=2)
# A server has at most this many times `per_server` sessions, those of dead runs included.
WITH_DEAD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """At most `per_server` living sessions; no session is held longer than `longest`."""

    per_server: int
    longest: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSessions:
    """The holder that begins a job's sessions, and their kind if a request names none."""

    holder: Holder
    kind: HeldKind


@dataclass
class HeldSession:
    """A session held by this daemon; `renewed` is the time of its begin or last heartbeat.

    A thread must hold `lock` to use the database session.
    """

    record: SessionRecord
    holding: Holding
    renewed: datetime
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_living(self, now: datetime) -> bool:
        """Whether the session is in use: a run must have renewed it within `SILENCE`.

        A session with another label, begun by hand, always counts as in use.
        """
        return self.record.label != RUN_LABEL or now - self.renewed < SILENCE


_UNUSABLE: dict[HeldState, type[HoldfastError]] = {
    HeldState.ENDED: SessionNotFound,
    HeldState.ABORTED: SessionNotFound,
    HeldState.EXPIRED: SessionExpired,
    HeldState.LOST: SessionLost,
    HeldState.CORRUPT: SessionCorrupt,
}


def require_open(record: SessionRecord) -> None:
    """Raises the error of the session's state if it is not open."""
    if not record.is_open:
        raise _UNUSABLE[record.state](
            f"cannot use session '{record.session_id}': it is {record.state.value}:"
            f" {record.reason}",
            hint="what was copied under it is not a valid backup; begin again",
        )


def fields_of(record: SessionRecord) -> dict[str, object]:
    """The fields that every log event about a session has."""
    return {"session": record.session_id, "job": record.job, "server": record.server}
