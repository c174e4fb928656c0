"""When this host read back which parts of one repository, in one small database."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from holdfast.model.backup import fingerprint_of_keys
from holdfast.model.lazy_dataclass import replace
from holdfast.model.values import tells_moment
from holdfast.ports.host_state import ReadBack, Reread
from holdfast.runtime import events
from holdfast.runtime.cleanup import on_failure
from holdfast.runtime.files import make_state_folder, open_private, state_error, state_errors

TABLES = """
CREATE TABLE IF NOT EXISTS reread (
    backup_id TEXT, key TEXT, at TEXT, problem TEXT, opened INTEGER, PRIMARY KEY (backup_id, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unreferenced (
    job TEXT, key TEXT, since TEXT, PRIMARY KEY (job, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS restored (backup_id TEXT PRIMARY KEY, at TEXT) WITHOUT ROWID;
"""
# Without the blobs and the WAL of a job: they are not backups, and may be millions.
READ_BACK = """
SELECT backup_id, COUNT(*), SUM(problem != ''), SUM(opened IS NOT 1), MIN(at),
    GROUP_CONCAT(key, char(10))
FROM reread WHERE backup_id >= ? AND backup_id < ?
    AND backup_id LIKE '%/%' AND backup_id NOT LIKE '%/blobs' GROUP BY backup_id
"""
REREAD = """
INSERT INTO reread VALUES (?, ?, ?, ?, ?) ON CONFLICT (backup_id, key) DO UPDATE
SET at = excluded.at, problem = excluded.problem, opened = excluded.opened
WHERE excluded.opened OR excluded.problem != '' OR reread.problem = '' OR NOT reread.opened
"""
WAIT_SECONDS = 30.0
PRIMARY_CODE = 0xFF
# Damage that we find ourselves has code 0.
DAMAGE = (0, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class FileVerificationLog:
    """Obeys `ports.host_state.VerificationLog`. A damaged file is replaced by a new one: then all
    parts must be read back again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._open: sqlite3.Connection | None = None

    def reread(self, backup_id: str, key: str, found: Reread) -> None:
        with self._database() as database:
            database.execute(
                REREAD, (backup_id, key, found.at.isoformat(), found.problem, found.opened)
            )

    def of(self, backup_id: str) -> dict[str, Reread]:
        with self._database() as database:
            rows = database.execute(
                "SELECT key, at, problem, opened FROM reread WHERE backup_id = ?", (backup_id,)
            ).fetchall()
        # A row with an invalid time counts as never read back.
        return {
            key: Reread(at=datetime.fromisoformat(at), problem=str(problem), opened=bool(opened))
            for key, at, problem, opened in rows
            if _is_moment(at)
        }

    def damaged(self, job: str) -> set[str]:
        with self._database() as database:
            rows = database.execute(
                "SELECT DISTINCT backup_id FROM reread WHERE problem != ''"
            ).fetchall()
        return {str(each) for (each,) in rows if str(each).startswith(f"{job}/")}

    def restored(self, backup_id: str, *, at: datetime) -> None:
        with self._database() as database:
            database.execute(
                "INSERT OR REPLACE INTO restored VALUES (?, ?)", (backup_id, at.isoformat())
            )

    def read_back(self, job: str) -> dict[str, ReadBack]:
        with state_errors(self._path):
            if not self._path.exists():
                return {}
        # Every id begins with the job and a slash; `0` is the character after the slash.
        bounds = (f"{job}/", f"{job}0") if job else ("", "\U0010ffff")
        with self._database() as database:
            # One row at a time: each holds all keys of a backup.
            found = {
                str(backup_id): _read_back(columns)
                for backup_id, *columns in database.execute(READ_BACK, bounds)
                if _is_moment(columns[3])
            }
            restored = database.execute("SELECT backup_id, at FROM restored").fetchall()
        for backup_id, at in restored:
            if _is_moment(at) and bounds[0] <= backup_id < bounds[1]:
                known = found.get(backup_id, ReadBack())
                found[backup_id] = replace(known, restored_at=datetime.fromisoformat(at))
        return found

    def forget(self, backup_id: str) -> None:
        with self._database() as database:
            for table in ("reread", "restored"):
                database.execute(f"DELETE FROM {table} WHERE backup_id = ?", (backup_id,))  # noqa: S608 - names of ours

    def keep_only(self, backup_id: str, keys: Collection[str]) -> None:
        with self._database() as database:
            rows = database.execute("SELECT key FROM reread WHERE backup_id = ?", (backup_id,))
            database.executemany(
                "DELETE FROM reread WHERE backup_id = ? AND key = ?",
                [(backup_id, key) for (key,) in rows.fetchall() if key not in keys],
            )

    def unreferenced(
        self, job: str, keys: Collection[str], *, now: datetime
    ) -> dict[str, datetime]:
        with self._database() as database:
            rows = database.execute("SELECT key, since FROM unreferenced WHERE job = ?", (job,))
            before = {key: datetime.fromisoformat(at) for key, at in rows if _is_moment(at)}
            since = {key: before.get(key, now) for key in keys}
            database.execute("DELETE FROM unreferenced WHERE job = ?", (job,))
            database.executemany(
                "INSERT INTO unreferenced VALUES (?, ?, ?)",
                [(job, key, at.isoformat()) for key, at in since.items()],
            )
        return since

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """One transaction, exclusive among threads; other processes of this host wait for it."""
        with self._lock, _told(self._path), state_errors(self._path):
            if self._open is None:
                self._open = self._opened_whole()
            with self._open:
                yield self._open

    def _opened_whole(self) -> sqlite3.Connection:
        try:
            return self._opened()
        except sqlite3.DatabaseError as error:
            # A full disk or another slow process is not damage.
            if getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE not in DAMAGE:
                raise
            events.warning("verification_log_reset", path=str(self._path), problem=str(error))
            self._path.unlink(missing_ok=True)
            return self._opened()

    def _opened(self) -> sqlite3.Connection:
        make_state_folder(self._path.parent)
        os.close(open_private(self._path, os.O_RDWR))
        database = sqlite3.connect(self._path, timeout=WAIT_SECONDS, check_same_thread=False)
        with on_failure(database.close):
            # The journal mode stays the default: WAL would need files beside the database, which
            # other users of the folder may not be able to write.
            database.execute("PRAGMA synchronous = NORMAL")
            database.executescript(TABLES)
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        return database


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise state_error(error, path) from error


def _read_back(columns: Sequence[Any]) -> ReadBack:
    parts, bad, unopened, since, keys = columns
    return ReadBack(
        parts=parts,
        bad=bad,
        unopened=unopened,
        keys_fingerprint=fingerprint_of_keys(str(keys).split("\n")),
        since=datetime.fromisoformat(since),
    )


def _is_moment(at: object) -> bool:
    return isinstance(at, str) and tells_moment(at)
