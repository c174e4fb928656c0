"""A running base backup: its parts, its keepalive, and its end."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import field
from datetime import UTC, datetime
from itertools import chain

from crc32c import crc32c

from holdfast.model.backup import (
    POSTGRES_CLUSTER,
    Buffer,
    Consistency,
    Part,
    PartKind,
    PartPlan,
    Server,
)
from holdfast.model.errors import BackupFailed, HoldfastError, SnapshotLost
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.part_details import LABEL_FILE, ClusterFile, ClusterLabel
from holdfast.model.part_gaps import path_of
from holdfast.model.proof import BaseBackupProof
from holdfast.model.stored_json import as_text
from holdfast.model.wal import Position, segments_between
from holdfast.ports.sessions import Ended, Holding
from holdfast.ports.source import PartStream, Snapshot
from holdfast.sources.keepalive import Keepalive, release_session
from holdfast.sources.postgres.files import backup_manifest
from holdfast.sources.postgres.files.backup_manifest import ManifestFile, Packed, WalRange
from holdfast.sources.postgres.files.checksum_results import ChecksumResults, whole_files
from holdfast.sources.postgres.files.cluster import ClusterFacts
from holdfast.sources.postgres.files.entries import Entries, Entry
from holdfast.sources.postgres.files.file_reader import Reader, Turn, unreadable
from holdfast.sources.postgres.files.kept_plan import KeptPlan
from holdfast.sources.postgres.files.pack_process import PackProcess
from holdfast.sources.postgres.files.pack_reader import packed
from holdfast.sources.postgres.files.part_plan import WHOLE, FileLayout, around, of_files, range_of
from holdfast.sources.postgres.files.tree import CONTROL_FILE, Seen
from holdfast.sources.postgres.files.wal import require_segment

MAP_FILE, MANIFEST_FILE = "tablespace_map", "backup_manifest"
NOTES_TOLD = 50
_IN_TABLESPACE = re.compile(r"pg_tblspc/([1-9][0-9]{0,9})/.+", re.ASCII)


@dataclass(frozen=True, slots=True)
class FileStream(PartStream):
    """The bytes of one part, and as its memo the results of its checks."""

    chunks: Iterator[Buffer]
    findings: ChecksumResults = field(default_factory=ChecksumResults)

    def __iter__(self) -> Iterator[Buffer]:
        return self.chunks

    @property
    def memo(self) -> str:
        return self.findings.encode()


@dataclass(kw_only=True)
class PhysicalSnapshot(Snapshot):
    """A running base backup, made by `PhysicalSource.open`.

    A later run rejoins it by `name`, where the session daemon holds it. `seen` holds what the
    walk left out or followed. `unproven` are notes on databases whose files could not be compared
    with the system catalogs. `is_kept` if an earlier run of this backup planned `layout`.
    `process` reads packs beside the threads of this one.
    """

    found: ClusterFacts
    holding: Holding
    layout: FileLayout
    name: str
    seen: Seen = field(default_factory=Seen)
    unproven: Sequence[str] = ()
    is_kept: bool = False
    process: PackProcess | None = None
    findings: ChecksumResults = field(default_factory=ChecksumResults)
    consistency: Consistency = Consistency.SNAPSHOT
    ended: Ended | None = None
    ended_at: datetime | None = None
    _texts: dict[str, bytes] = field(default_factory=dict)
    _files: Packed = field(default_factory=Packed)
    _problem: HoldfastError | None = None
    _turn: Turn = field(default_factory=Turn)

    def __post_init__(self) -> None:
        self.keepalive = Keepalive(self.holding, lost=self._give_up)

    @property
    def server(self) -> Server:
        return Server(kind=POSTGRES_CLUSTER, version=self.found.version, database="cluster")

    @property
    def taken_at(self) -> datetime:
        return self.holding.begun.begun_at

    @property
    def notes(self) -> Sequence[str]:
        return [*notes_on(self.seen), *self.unproven]

    @property
    def parts(self) -> Sequence[PartPlan]:
        return self.layout.parts

    @property
    def proof(self) -> BaseBackupProof:
        begun, gone = self.holding.begun, len(self.findings.vanished)
        return BaseBackupProof(
            snapshot=self.name,
            system_identifier=begun.anchor.system_identifier,
            timeline=begun.anchor.timeline,
            start_lsn=begun.start_lsn,
            stop_lsn=self.ended.stop_lsn if self.ended else "",
            ended_at=self.ended_at,
            wal_reserved_by=begun.slot or "nothing",
            page_checksums=self._page_checksums(),
            vanished=f"{gone} files were dropped during the copy" if gone else "",
            bad_pages=self.findings.told_bad,
        )

    def _page_checksums(self) -> str:
        return f"{self.findings.pages} pages verified" if self.found.has_checksums else "off"

    @contextmanager
    def read(self, part: PartPlan) -> Iterator[PartStream]:
        reader = self._reader()
        if part.kind is PartKind.FILE:
            self._require_open(part)
            (entry,) = self.layout.contents[part.name]
            piece = range_of(part) or WHOLE
            yield FileStream(reader.file(entry, piece), reader.findings)
        elif part.kind is PartKind.FILE_PACK:
            self._require_open(part)
            entries = self.layout.contents[part.name]
            with self._elsewhere(reader, entries) as stream:
                yield stream or FileStream(packed(reader, entries), reader.findings)
        elif part.kind is PartKind.WAL:
            yield FileStream(self._wal(reader, part))
        elif path_of(part) == MANIFEST_FILE:
            yield FileStream(iter(self._files))
        else:
            yield FileStream(iter([self._texts[path_of(part)]]))

    def closing_parts(self, stored: Sequence[Part]) -> Sequence[PartPlan]:
        """End the backup; returns WAL, `pg_control`, labels and manifest.

        `pg_control` is read after all other files, as it must not be older than any of them.
        """
        self._require_alive()
        self.findings = ChecksumResults.of_all(stored)
        control = self._control()
        self.ended = self.holding.ended or self.keepalive.end()
        self.ended_at = datetime.now(UTC)
        self.findings.judge(Position.parse(self.ended.stop_lsn).byte)
        self._texts = {CONTROL_FILE: control, LABEL_FILE: self.ended.backup_label.encode()}
        self._files = Packed(self._manifest(stored))
        if self.ended.tablespace_map:
            self._texts[MAP_FILE] = self.ended.tablespace_map.encode()
        self.findings.tell()
        last = self._text_part(MANIFEST_FILE, self._files.size_bytes)
        texts = (self._text_part(path, len(text)) for path, text in self._texts.items())
        return [*self._wal_parts(), *texts, last]

    @property
    def memo(self) -> str:
        if not self.holding.session_id:
            # The backup ends with this process, so no run can resume it.
            return ""
        return KeptPlan(layout=self.layout, seen=self.seen, unproven=self.unproven).encode()

    def go_on_from(self, stored: Sequence[Part]) -> None:
        if self.is_kept and all(part.name in self.layout.contents for part in of_files(stored)):
            return
        self.layout = around(self.layout, stored, with_rest=self.holding.ended is None)

    def release(self, *, finished: bool) -> None:
        release_session(self.holding, finished=finished)

    def abort(self) -> None:
        self._give_up(SnapshotLost("cannot continue: the backup was ended"))
        if self.process is not None:
            self.process.end()

    def _elsewhere(
        self, reader: Reader, entries: Entries
    ) -> AbstractContextManager[PartStream | None]:
        return self.process.reading(reader, entries) if self.process else nullcontext()

    def _give_up(self, problem: HoldfastError) -> None:
        self._problem = self._problem or problem

    def _require_alive(self) -> None:
        """Raises the error that made the backup unusable, if there is one."""
        if self._problem is not None:
            raise self._problem

    def _control(self) -> bytes:
        path = self.found.data / CONTROL_FILE
        if self.holding.ended is not None and self.holding.begun.anchor.is_standby:
            # Its minimum recovery point keeps moving. By now it is beyond the WAL of this backup.
            raise SnapshotLost(
                f"cannot copy '{path}' again: the standby has moved past the end of the base backup"
            )
        try:
            return path.read_bytes()
        except OSError as error:
            raise unreadable(path, error) from error

    def _require_open(self, part: PartPlan) -> None:
        """Raises `SnapshotLost` after the end: a file copied now is newer than the backup's WAL."""
        if self.holding.ended is not None:
            raise SnapshotLost(
                f"cannot copy '{part.name}' again: the base backup has ended",
                hint="run the backup without --resume",
            )

    def _reader(self) -> Reader:
        return Reader(
            data=self.found.data,
            start=Position.parse(self.holding.begun.start_lsn).byte,
            checks_pages=self.found.has_checksums,
            findings=ChecksumResults(),
            look=self._require_alive,
            owner=self.found.data.stat().st_uid,
            links=self.seen.links,
            turn=self._turn,
        )

    def _wal_parts(self) -> Iterator[PartPlan]:
        begun = self.holding.begun
        for name in segments_between(
            begun.anchor.timeline,
            Position.parse(begun.start_lsn),
            Position.parse(self._stop_lsn),
            segment_bytes=self.found.wal_segment_bytes,
        ):
            yield PartPlan(
                name=f"wal/{name.lower()}",
                kind=PartKind.WAL,
                estimated_bytes=self.found.wal_segment_bytes,
                details=ClusterFile(path=f"pg_wal/{name}"),
            )

    def _wal(self, reader: Reader, part: PartPlan) -> Iterator[Buffer]:
        path = path_of(part)
        name = path.removeprefix("pg_wal/")
        self._require_segment(name)
        yield from reader.file(Entry(path=path, size_bytes=part.estimated_bytes))
        # The server may have recycled the segment while it was read; its header then shows it.
        self._require_segment(name)

    def _require_segment(self, name: str) -> None:
        require_segment(
            self.found.data / "pg_wal" / name,
            segment_bytes=self.found.wal_segment_bytes,
            system_identifier=self.found.system_identifier,
        )

    @property
    def _stop_lsn(self) -> str:
        if self.ended is None:
            raise BackupFailed("cannot collect WAL: the backup has not ended")
        return self.ended.stop_lsn

    def _manifest(self, stored: Sequence[Part]) -> Iterator[bytes]:
        begun = self.holding.begun
        return backup_manifest.lines(
            chain(whole_files(stored, self.findings.vanished), self._closing()),
            WalRange(
                timeline=begun.anchor.timeline, start_lsn=begun.start_lsn, end_lsn=self._stop_lsn
            ),
            server_version=self.found.version_number,
            system_identifier=self.found.system_identifier,
        )

    def _closing(self) -> Iterator[ManifestFile]:
        modified = int(self.holding.begun.begun_at.timestamp())
        for path in (CONTROL_FILE, LABEL_FILE):
            content = self._texts[path]
            yield path, len(content), modified, crc32c(content)

    def _text_part(self, path: str, size_bytes: int) -> PartPlan:
        return PartPlan(
            name=f"end/{path.rpartition('/')[2]}",
            kind=PartKind.CLOSING,
            estimated_bytes=size_bytes,
            details=self._label() if path == LABEL_FILE else ClusterFile(path=path),
        )

    def _label(self) -> ClusterLabel:
        """What a restore needs to know beside the files."""
        return ClusterLabel(
            tablespaces=tablespaces_in(self.findings.folders) | self.seen.tablespaces,
            vanished=frozenset(self.findings.vanished),
            links=self.seen.links,
            mode=stat.S_IMODE(self.found.data.stat().st_mode),
        )


def tablespaces_in(folders: Iterable[str]) -> dict[str, str]:
    """The tablespaces whose folders were copied, by OID, without their locations.

    A resumed run may have copied one that was dropped since.
    """
    found = (_IN_TABLESPACE.fullmatch(folder) for folder in folders)
    return {each[1]: "" for each in found if each}


def notes_on(seen: Seen) -> list[str]:
    """Notes for the operator: what is not copied, and which links come back as something else."""
    left = [f"left out: '{path}': {why}" for path, why in sorted(seen.skipped.items())]
    links = [
        f"'{path}' is a link to '{to}': it comes back as a folder or file of its own"
        for path, to in sorted(seen.links.items())
    ]
    more = len(left) + len(links) - NOTES_TOLD
    told = [as_text(each) for each in (*left, *links)[:NOTES_TOLD]]
    return [*told, f"and {more} more"] if more > 0 else told
