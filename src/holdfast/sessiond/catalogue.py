"""Which sessions there are and were, in SQLite: what a crash of the daemon leaves to know."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from holdfast import events
from holdfast.cleanup import afterwards
from holdfast.errors import ConfigInvalid
from holdfast.holding import HeldState
from holdfast.scheduling.state import open_private
from holdfast.session.record import SessionRecord, from_document, to_document
from holdfast.stored_json import parsed

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


class Catalogue:
    """One file, private to the daemon's user; each change is on disk when its method returns.

    Raises `ConfigInvalid` where the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        os.close(open_private(path, os.O_RDWR))
        self._path = path
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
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
        """Remember `record`, in place of what was known of it."""
        row = (
            record.session_id,
            record.state.value,
            record.begun.begun_at.isoformat(),
            json.dumps(to_document(record)),
        )
        with self._lock:
            self._database.execute(_PUT, row)

    def find(self, session_id: str) -> SessionRecord | None:
        found = self._read("WHERE session_id = ?", session_id)
        return found[0] if found else None

    def listed(self, *, all_states: bool) -> list[SessionRecord]:
        """Newest first."""
        order = "ORDER BY begun_at DESC, session_id"
        if all_states:
            return self._read(order)
        return self._read(f"WHERE state = ? {order}", HeldState.OPEN.value)

    def lose_all(self, reason: str, *, now: datetime) -> list[SessionRecord]:
        """Those that were open, which went with the daemon that held them."""
        lost = [
            replace(each, state=HeldState.LOST, reason=reason, ended_at=now)
            for each in self.listed(all_states=False)
        ]
        for each in lost:
            self.put(each)
        return lost

    def forget(self, *, before: datetime) -> None:
        """Drop the story of sessions that were begun before, and are not open."""
        with self._lock:
            self._database.execute(
                "DELETE FROM sessions WHERE begun_at < ? AND state <> ?",
                (before.isoformat(), HeldState.OPEN.value),
            )

    def _read(self, condition: str, *values: str) -> list[SessionRecord]:
        query = f"SELECT document FROM sessions {condition}"  # noqa: S608 - our own words, values apart
        with self._lock:
            rows = self._database.execute(query, values)
            with afterwards(rows.close):
                found = [_readable(document) for (document,) in rows]
        return [each for each in found if each is not None]


def _readable(document: object) -> SessionRecord | None:
    """None for what a broken disk has left of a session: the others are still told."""
    try:
        return from_document(parsed(str(document)))
    except (KeyError, TypeError, ValueError) as error:
        events.warning("session_not_readable", problem=str(error)[:200])
        return None
