"""Summaries of manifests, cached on this host, so that listing ten thousand backups is quick.

It is only a cache: a list of the repository says which backups exist. A cached summary counts only
if its manifest is still there with the same size, fingerprint and version, as the store lists them;
all others are read again. A store that lists neither of the two hides a change of equal size.
Verify, restore and prune never use it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.catalog.catalog import Catalog, Damaged
from holdfast.catalog.places import FAILURE, MANIFEST, place_of
from holdfast.model.backup import Manifest, Summary
from holdfast.model.errors import BackupNotFound, ManifestInvalid, ObjectMissing, VerifyFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.part_gaps import require_complete
from holdfast.model.sha256 import sha256_hex
from holdfast.model.stored_json import Unreadable, line_of, parsed, typed
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.files import STATE_FAULTS, make_state_folder, open_private

if TYPE_CHECKING:
    from holdfast.catalog.manifest import Failure
    from holdfast.ports.repository import Repository, Stored

TABLE = """
CREATE TABLE IF NOT EXISTS summary (
    key TEXT PRIMARY KEY, size_bytes INTEGER, fingerprint TEXT, version TEXT, summary BLOB,
    seal TEXT
) WITHOUT ROWID;
"""
COLUMNS = "SELECT key, size_bytes, fingerprint, version, summary, seal FROM summary"
WAIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A summary of a repository, newest snapshot first."""

    summaries: tuple[Summary, ...]
    damaged: tuple[Damaged, ...]
    failures: tuple[Failure, ...]


Row = tuple[int, str, str, object, str]
"""A row of the database, which may be damaged in any way."""


class ManifestIndex:
    """Overviews of one repository; if it cannot use its file, it reads every manifest.

    A summary that was cached while other keys were `believed` is read again.
    """

    def __init__(self, repository: Repository, path: Path, *, believed: Sequence[str] = ()) -> None:
        self._repository = repository
        self._catalog = Catalog(repository)
        self._path = path
        self._believed = " ".join(believed)

    def overview(self, job: str = "") -> Overview:
        """Every backup, of one job or of all; a damaged manifest does not hide the others."""
        manifests, failed = self._ends(job)
        known = self._known(job)
        summaries: list[Summary] = []
        damaged: list[Damaged] = []
        fresh: dict[str, Row] = {}
        for backup_id, stored in manifests.items():
            summary = _remembered(stored, known.get(stored.key), self._believed)
            try:
                if summary is None:
                    summary = self._whole(backup_id).summary
                    fresh[stored.key] = _row(stored, summary, self._believed)
                summaries.append(summary)
            except (ManifestInvalid, VerifyFailed) as error:
                damaged.append(Damaged(backup_id=backup_id, problem=error.message))
            except BackupNotFound:
                # Pruned since the list was made, so it no longer belongs in the overview.
                continue
        failures = self._failures([each for each in failed if each not in manifests], damaged)
        present = {each.key for each in manifests.values()}
        self._remember(fresh, gone=known.keys() - present)
        summaries.sort(key=lambda each: (each.snapshot_at, each.name), reverse=True)
        return Overview(
            summaries=tuple(summaries), damaged=tuple(damaged), failures=tuple(failures)
        )

    def remembered(self, job: str) -> list[str]:
        """The ids of the backups of `job` at the last overview, newest first; changes no file."""
        try:
            database = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
            with afterwards(database.close):
                keys = [str(key) for (key,) in database.execute("SELECT key FROM summary")]
        except sqlite3.Error:
            return []
        places = [place_of(key) for key in keys if key.startswith(f"{job}/")]
        return sorted((each.backup_id for each in places if each is not None), reverse=True)

    def present(self, job: str) -> list[str]:
        """The ids of the backups of `job` in the repository, newest first; reads no manifest."""
        manifests, _ = self._ends(job)
        return sorted(manifests, reverse=True)

    def _whole(self, backup_id: str) -> Manifest:
        """Raises `VerifyFailed` if the manifest does not list all that the backup must restore."""
        manifest = self._catalog.find(backup_id)
        require_complete(manifest)
        return manifest

    def _ends(self, job: str) -> tuple[dict[str, Stored], list[str]]:
        manifests: dict[str, Stored] = {}
        failed: list[str] = []
        for stored in self._repository.list(job):
            place = place_of(stored.key)
            if place is not None and place.file == MANIFEST:
                manifests[place.backup_id] = stored
            elif place is not None and place.file == FAILURE:
                failed.append(place.backup_id)
        return manifests, failed

    def _failures(self, backup_ids: list[str], damaged: list[Damaged]) -> list[Failure]:
        found: list[Failure] = []
        for backup_id in backup_ids:
            try:
                found.append(self._catalog.failure(backup_id))
            except ManifestInvalid as error:
                damaged.append(Damaged(backup_id=backup_id, problem=error.message, is_backup=False))
            except ObjectMissing:
                continue
        return sorted(found, key=lambda each: each.failed_at, reverse=True)

    def _known(self, job: str) -> dict[str, Row]:
        try:
            with self._database() as database:
                rows = database.execute(COLUMNS)
                below = f"{job}/" if job else ""
                return {row[0]: row[1:] for row in rows if row[0].startswith(below)}
        except (*STATE_FAULTS, sqlite3.Error, ValueError, TypeError, AttributeError) as error:
            self._forget(error)
            return {}

    def _remember(self, fresh: dict[str, Row], *, gone: set[str]) -> None:
        if not fresh and not gone:
            return
        try:
            with self._database() as database, database:
                database.executemany("DELETE FROM summary WHERE key = ?", [(key,) for key in gone])
                database.executemany(
                    "INSERT OR REPLACE INTO summary VALUES (?, ?, ?, ?, ?, ?)",
                    [(key, *row) for key, row in fresh.items()],
                )
        except (*STATE_FAULTS, sqlite3.Error) as error:
            self._forget(error)

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        make_state_folder(self._path.parent)
        os.close(open_private(self._path, os.O_RDWR))
        database = sqlite3.connect(self._path, timeout=WAIT_SECONDS)
        with afterwards(database.close):
            database.executescript(TABLE)
            yield database

    def _forget(self, error: Exception) -> None:
        """Delete a damaged index, so that the next use builds a new one; keep it otherwise.

        Where the file is not writable, every overview reads all manifests.
        """
        events.debug("manifest_index_not_used", path=str(self._path), problem=str(error))
        # A locked, full or unwritable file is undamaged; a foreign table or content is damage.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        is_whole = isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR
        if not is_whole and not isinstance(error, STATE_FAULTS):
            self._path.unlink(missing_ok=True)


def _remembered(stored: Stored, row: Row | None, believed: str) -> Summary | None:
    """The cached summary; None if the manifest has changed since, or the row is damaged."""
    if row is None:
        return None
    *listed, summary, seal = row
    if listed != [stored.size_bytes, stored.fingerprint, stored.version]:
        return None
    if not isinstance(summary, bytes) or seal != _seal(stored, summary, believed):
        return None
    try:
        return typed(Summary, parsed(summary))
    except Unreadable:
        return None


def _row(stored: Stored, summary: Summary, believed: str) -> Row:
    content = line_of(summary)
    seal = _seal(stored, content, believed)
    return stored.size_bytes, stored.fingerprint, stored.version, content, seal


def _seal(stored: Stored, summary: bytes, believed: str) -> str:
    """A checksum of the whole row: a flipped bit in the index must not show in a list."""
    listed = (stored.key, stored.size_bytes, stored.fingerprint, stored.version, believed)
    head = "".join(f"{each}\n" for each in listed).encode()
    return sha256_hex(head + summary)
