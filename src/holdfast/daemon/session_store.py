"""Held sessions, and in SQLite which there are and were: what a crash leaves to know."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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


# SQLite's primary result codes for a file that somebody else has locked.
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_PRIMARY = 0xFF
BUSY_SECONDS = 5.0
# What one list gathers at most; the newest come first.
MOST_LISTED, MOST_LISTED_BYTES = 1000, 4 << 20


class SessionStore:
    """One file, private to the daemon's user. Raises `ConfigInvalid` where it cannot be used.

    What is to be kept in any case waits in memory where the file cannot be written at the moment.
    Methods raise `SessionDaemonUnreachable` while somebody else has the file locked, and what
    SQLite raises.
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
                f"cannot use the catalogue of sessions '{path}': {error}",
                hint="stop the daemon and move the file away: it only tells of sessions",
            ) from error

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def put(self, record: SessionRecord) -> None:
        """Remember `record`, in place of what was known of it; it is on disk when this returns."""
        with self._lock, self._translated():
            self._database.execute(_PUT, _row(record))

    def keep(self, record: SessionRecord) -> None:
        """The same, and in memory until it can be written: never raises."""
        with self._lock:
            self._owed[record.session_id] = record
            if time.monotonic() >= self._next_try:
                self._settle()

    def settle(self) -> None:
        """Write what is owed, as far as that is possible now."""
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
        """Newest first, and no more than can be told at a time."""
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
        """Those that were open, which went with the daemon that held them."""
        lost = [
            replace(each, state=HeldState.LOST, reason=reason, ended_at=now)
            for each in self.listed(all_states=False)
            if each.session_id not in but
        ]
        for each in lost:
            self.put(each)
        return lost

    def forget(self, *, before: datetime) -> None:
        """Drop the story of sessions that were begun before, and are not open."""
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
        """Of what cannot be written nothing is lost, and nobody waits for it again too soon."""
        try:
            for record in list(self._owed.values()):
                self._database.execute(_PUT, _row(record))
                del self._owed[record.session_id]
        except sqlite3.Error as error:
            self._next_try = time.monotonic() + BUSY_SECONDS
            events.warning("catalogue_not_written", path=str(self._path), problem=str(error))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & _PRIMARY not in _BUSY:
                raise
            raise SessionDaemonUnreachable(
                f"cannot use the catalogue of sessions '{self._path}': {error}",
                hint="somebody else has it locked, fuser -v tells who; sessions that are held stay",
            ) from error


def _row(record: SessionRecord) -> tuple[str, str, str, str]:
    return (
        record.session_id,
        record.state.value,
        record.begun.begun_at.isoformat(),
        json.dumps(to_document(record)),
    )


def _readable(document: object) -> SessionRecord | None:
    """None for what a broken disk has left of a session: the others are still told."""
    try:
        return from_document(parsed(str(document)))
    except (KeyError, TypeError, ValueError) as error:
        events.warning("session_not_readable", problem=str(error)[:200])
        return None


# A run that was not heard of for so long is dead; its session waits for whoever resumes it.
SILENCE = timedelta(minutes=2)
# How many sessions a server may have to bear in all, those of dead runs too.
WITH_DEAD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """`per_server` sessions that somebody works with; none is held longer than `longest`."""

    per_server: int
    longest: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSessions:
    """Where a job's sessions come from, and what they are for unless somebody says otherwise."""

    holder: Holder
    kind: HeldKind


@dataclass
class HeldSession:
    """A session in our hands, `renewed` when; whoever speaks to its server has the `lock`."""

    record: SessionRecord
    holding: Holding
    renewed: datetime
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_living(self, now: datetime) -> bool:
        """Whether somebody works with it: a run says so every few seconds, people as they like."""
        return self.record.label != RUN_LABEL or now - self.renewed < SILENCE


_UNUSABLE: dict[HeldState, type[HoldfastError]] = {
    HeldState.ENDED: SessionNotFound,
    HeldState.ABORTED: SessionNotFound,
    HeldState.EXPIRED: SessionExpired,
    HeldState.LOST: SessionLost,
    HeldState.CORRUPT: SessionCorrupt,
}


def require_open(record: SessionRecord) -> None:
    """Raises the error that belongs to the session's state."""
    if not record.is_open:
        raise _UNUSABLE[record.state](
            f"cannot use session '{record.session_id}': it is {record.state.value}:"
            f" {record.reason}",
            hint="what was copied under it is no backup; begin again",
        )


def fields_of(record: SessionRecord) -> dict[str, object]:
    """What every log event about a session names."""
    return {"session": record.session_id, "job": record.job, "server": record.server}
