"""Reads a PostgreSQL cluster as files, and holds a base backup open while a script copies them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from holdfast.model.backup import POSTGRES_CLUSTER, Consistency, PartPlan, Relation, Server
from holdfast.model.errors import BackupFailed, DatabaseUnreachable
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.part_details import LABEL_FILE, ClusterFile
from holdfast.model.part_gaps import path_of
from holdfast.model.wal import Position, segments_between
from holdfast.model.wal_archive import Archiver
from holdfast.ports.sessions import Ended, HeldKind, Holder, Holding
from holdfast.ports.source import Blobs, Finding, Snapshot, Source, SourcePlan, TablePlan
from holdfast.runtime.cleanup import afterwards, noted_on
from holdfast.runtime.events import reached
from holdfast.runtime.files import make_folder, new_file, whole_file, write_all
from holdfast.runtime.preload import begin_loading
from holdfast.sources.keepalive import LOOK_SECONDS, held_session, of_this_process
from holdfast.sources.postgres.files import cluster, wal
from holdfast.sources.postgres.files.catalog_files import require_all, require_folders
from holdfast.sources.postgres.files.cluster import ClusterFacts
from holdfast.sources.postgres.files.entries import Entry
from holdfast.sources.postgres.files.file_reader import (
    is_worth_compressing,
    require_open_files,
    unreadable,
)
from holdfast.sources.postgres.files.kept_plan import KeptPlan
from holdfast.sources.postgres.files.pack_process import (
    WORTHWHILE_FILES,
    PackProcess,
    pack_process,
)
from holdfast.sources.postgres.files.part_plan import FileLayout, lay_out, range_of
from holdfast.sources.postgres.files.snapshot import MAP_FILE, PhysicalSnapshot, notes_on
from holdfast.sources.postgres.files.tree import Seen
from holdfast.sources.postgres.files.wal import require_segment
from holdfast.sources.postgres.server import preflight
from holdfast.sources.postgres.server.login import Login

# One holds the backup, the other queries the catalogs.
CONNECTIONS = 2


class PhysicalSource(Source):
    """The files of a cluster on this host.

    `holder` opens the backup's session. `fast` asks for an immediate checkpoint instead of a
    spread one. `memo` is that of the snapshot to rejoin. `may_have_process` lets a second
    process read small files.
    """

    engine = "native"

    def __init__(
        self,
        *,
        login: Login,
        holder: Holder,
        fast: bool = True,
        look_seconds: float = LOOK_SECONDS,
        memo: str = "",
        may_have_process: bool = True,
    ) -> None:
        self._login = login
        self._holder = holder
        self._fast = fast
        self._look_seconds = look_seconds
        self._memo = memo
        self._may_have_process = may_have_process

    @property
    def database(self) -> str:
        return "cluster"

    def lag_seconds(self) -> float | None:
        return preflight.lag_seconds(self._login)

    def check(self) -> list[Finding]:
        with cluster.session(self._login) as connection:
            found = cluster.facts(connection)
            free = preflight.connections_free(connection)
        seen = Seen()
        files = sum(1 for _ in _entries(found, seen))
        notes = [*notes_on(seen), *require_all(self._login, found, seen)]
        checks = "are on" if found.has_checksums else "are off: damaged pages are not detected"
        return [
            Finding(
                subject="server",
                detail=f"PostgreSQL {found.version},"
                f" a {'standby' if found.is_standby else 'primary'}",
            ),
            Finding(subject="login", detail=f"'{self._login.user}'"),
            Finding(subject="files", detail=f"{files} in '{found.data}' can be listed"),
            *(Finding(subject="files", detail=each) for each in notes),
            Finding(subject="page checksums", detail=checks),
            Finding(subject="connections", detail=f"{free} free, {CONNECTIONS} needed"),
        ]

    def archiver(self) -> Archiver:
        return wal.archiver(self._login)

    def connections_free(self) -> int:
        """The free connections; raises `DatabaseUnreachable` if fewer than two are free."""
        with cluster.session(self._login) as connection:
            free = preflight.connections_free(connection)
        if free < CONNECTIONS:
            raise DatabaseUnreachable(
                f"cannot begin a backup on '{self._login.server}': {free} connections are free,"
                f" {CONNECTIONS} are needed",
                hint="raise max_connections, or run the backup when fewer sessions are open",
            )
        return free

    def plan(self) -> SourcePlan:
        with cluster.session(self._login) as connection:
            found, seen = cluster.facts(connection), Seen()
            layout = _layout(found, _entries(found, seen))
        sums = "verified" if found.has_checksums else "not verified: the cluster has none"
        return SourcePlan(
            server=Server(kind=POSTGRES_CLUSTER, version=found.version, database=self.database),
            tables=tuple(
                TablePlan(
                    relation=Relation(schema="files", name=path_of(part) or part.name),
                    estimated_bytes=part.estimated_bytes,
                    estimated_rows=0,
                    method=part.kind.value,
                    reason=_reason(part, len(layout.contents[part.name])),
                )
                for part in layout.parts
            ),
            consistency=Consistency.SNAPSHOT,
            notes=(
                f"page checksums are {sums}",
                "the WAL that a restore needs adds to this size",
                *notes_on(seen),
            ),
        )

    @contextmanager
    def open(
        self,
        *,
        workers: int,
        blobs: Blobs | None = None,  # noqa: ARG002  # files hold all of their values
        rejoin: str = "",
    ) -> Iterator[Snapshot]:
        require_open_files(workers)
        # An unsupported or unreadable cluster fails here, before the server does a checkpoint.
        has_checksums = cluster.asked(self._login).has_checksums
        if has_checksums:
            # What checks pages loads slowly, and the server now does its checkpoint.
            begin_loading("holdfast.sources.postgres.files.page_checksums")
        kept = KeptPlan.decode(self._memo) if rejoin else None
        with ExitStack() as stack, ExitStack() as unheard:
            readers = workers if self._may_have_process else 1
            process = stack.enter_context(pack_process(workers=readers, checks_pages=has_checksums))
            if kept and kept.layout.packed_files > WORTHWHILE_FILES:
                process.begin()
            reached("backup-beginning")
            holding = held_session(self._holder, HeldKind.BACKUP, rejoin=rejoin, fast=self._fast)
            stack.enter_context(of_this_process(holding))
            if not rejoin:
                unheard.enter_context(afterwards(holding.abort))
            found = cluster.asked(self._login)
            reached("cluster-asked")
            if kept:
                # A folder that is not mounted any more would look as if its tables were dropped.
                require_folders(self._login, found, kept.seen)
            planned = kept or self._planned(found, process)
            snapshot = PhysicalSnapshot(
                found=found,
                holding=holding,
                layout=planned.layout,
                name=holding.session_id or f"the backup of process {os.getpid()}",
                seen=planned.seen,
                unproven=planned.unproven,
                is_kept=kept is not None,
                process=process,
            )
            # The caller now owns the snapshot and must release it.
            unheard.pop_all()
            with snapshot.keepalive.at_work(seconds=self._look_seconds):
                yield snapshot

    def knowing(self, memo: str) -> Source:
        return PhysicalSource(
            login=self._login,
            holder=self._holder,
            fast=self._fast,
            look_seconds=self._look_seconds,
            memo=memo,
            may_have_process=self._may_have_process,
        )

    def _planned(self, found: ClusterFacts, process: PackProcess) -> KeptPlan:
        seen = Seen()
        layout = _layout(found, process.counting(_entries(found, seen)))
        reached("files-listed")
        unproven = require_all(self._login, found, seen)
        return KeptPlan(layout=layout, seen=seen, unproven=unproven)


def _layout(found: ClusterFacts, entries: Iterable[Entry]) -> FileLayout:
    worth = partial(is_worth_compressing, found.data)
    return lay_out(entries, is_worth_compressing=worth)


def _entries(found: ClusterFacts, seen: Seen) -> Iterator[Entry]:
    try:
        yield from found.tree.entries(seen)
    except OSError as error:
        raise unreadable(found.data, error) from error


def _reason(part: PartPlan, files: int) -> str:
    if not isinstance(part.details, ClusterFile):
        return f"{files} small files"
    piece = range_of(part)
    found = f"from byte {piece.first} on" if piece else "large enough for a part of its own"
    return found if part.compress else f"{found}, not compressed: a sample did not shrink"


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
        # The slot stays until `abort`: it keeps the WAL that is copied below.
        ended, place = self.holding.end(), Path(folder)
        try:
            _write(place / LABEL_FILE, ended.backup_label)
            if ended.tablespace_map:
                _write(place / MAP_FILE, ended.tablespace_map)
            self._bring_wal(place / "pg_wal", ended)
        except BaseException as error:
            # An incomplete set of files would pass for a complete one.
            with noted_on(error):
                _take_away(place)
            if not isinstance(error, OSError):
                raise
            raise BackupFailed(
                f"cannot write to '{folder}': {os.strerror(error.errno or 0)}",
                hint="check the free space and the owner of the folder",
            ) from error
        return ended

    def _bring_wal(self, folder: Path, ended: Ended) -> None:
        """Copy every segment up to the end of the backup: without one it is never consistent."""
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
        # An unsupported or unreadable cluster fails here, before the server does a checkpoint.
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
