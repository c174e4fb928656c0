"""A base backup around a copy that somebody else makes, such as a snapshot of a volume."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.model.errors import BackupFailed
from holdfast.model.wal import Position, segments_between
from holdfast.ports.sessions import Ended, HeldKind, Holder, Holding
from holdfast.runtime.cleanup import afterwards, noted_on
from holdfast.runtime.files import make_folder, new_file, whole_file, write_all
from holdfast.sources.postgres.files import cluster
from holdfast.sources.postgres.files.backup_label import LABEL_FILE
from holdfast.sources.postgres.files.cluster import ClusterFacts
from holdfast.sources.postgres.files.snapshot import MAP_FILE
from holdfast.sources.postgres.files.wal import require_segment
from holdfast.sources.postgres.server.login import Login

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBaseBackup:
    """Obeys `ports.sessions.Bracketed`."""

    holding: Holding
    found: ClusterFacts

    @property
    def data(self) -> str:
        return str(self.found.data)

    @property
    def tablespaces(self) -> Mapping[str, str]:
        return self.found.tablespaces

    def end(self, folder: str) -> Ended:
        # The slot stays until `abort`, when the WAL is here.
        ended, place = self.holding.end(), Path(folder)
        try:
            _write(place / LABEL_FILE, ended.backup_label)
            if ended.tablespace_map:
                _write(place / MAP_FILE, ended.tablespace_map)
            self._bring_wal(place / "pg_wal", ended)
        except BaseException as error:
            # Half of it would look like all of it.
            with noted_on(error):
                _take_away(place)
            if not isinstance(error, OSError):
                raise
            raise BackupFailed(
                f"cannot write to '{folder}': {os.strerror(error.errno or 0)}",
                hint="is there room, and is the folder yours?",
            ) from error
        return ended

    def _bring_wal(self, folder: Path, ended: Ended) -> None:
        """All of it: a copy without the WAL up to the end of its backup is never consistent."""
        make_folder(folder)
        begun, size = self.holding.begun, self.found.wal_segment_bytes
        start, stop = Position.parse(begun.start_lsn), Position.parse(ended.stop_lsn)
        for name in segments_between(begun.anchor.timeline, start, stop, segment_bytes=size):
            source = self.found.data / "pg_wal" / name
            require_segment(
                source, segment_bytes=size, system_identifier=self.found.system_identifier
            )
            _copy(source, folder / name)
            require_segment(
                folder / name, segment_bytes=size, system_identifier=self.found.system_identifier
            )
            _sync(folder / name)
        _sync(folder)


class PostgresBaseBackup:
    """Obeys `ports.sessions.Bracket`."""

    def __init__(self, *, login: Login, holder: Holder) -> None:
        self._login = login
        self._holder = holder

    @contextmanager
    def open(self, label: str) -> Iterator[OpenBaseBackup]:
        # What is wrong with it is told before the server begins anything.
        cluster.asked(self._login)
        holding = self._holder.begin(HeldKind.BACKUP, label=label, fast=True)
        with afterwards(holding.abort):
            yield OpenBaseBackup(holding=holding, found=cluster.asked(self._login))


def _take_away(place: Path) -> None:
    with suppress(OSError):
        for name in (LABEL_FILE, MAP_FILE):
            (place / name).unlink(missing_ok=True)
        shutil.rmtree(place / "pg_wal", ignore_errors=True)


def _write(path: Path, text: str) -> None:
    new_file(path, text.encode())
    _sync(path.parent)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as file, whole_file(target) as descriptor:
        while chunk := file.read(CHUNK_BYTES):
            write_all(descriptor, chunk)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with afterwards(os.close, descriptor):
        os.fsync(descriptor)
