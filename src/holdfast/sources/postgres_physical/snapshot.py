"""A base backup under way: its parts, what keeps it alive, and how it ends."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from holdfast import events
from holdfast.errors import BackupFailed, HoldfastError, SnapshotLost
from holdfast.holding import Ended, Holding
from holdfast.model import Buffer, Consistency, Member, Part, PartKind, PartPlan, Server
from holdfast.ports import PartStream
from holdfast.sources.postgres_physical import backup_manifest
from holdfast.sources.postgres_physical.backup_manifest import ManifestFile, WalRange
from holdfast.sources.postgres_physical.cluster import ClusterFacts
from holdfast.sources.postgres_physical.layout import Layout
from holdfast.sources.postgres_physical.reading import Findings, Reader, unreadable
from holdfast.sources.postgres_physical.tree import CONTROL_FILE, Entry
from holdfast.sources.postgres_physical.wal import require_segment
from holdfast.wal import Position, segments_between

KIND = "postgres-cluster"
LABEL_FILE, MAP_FILE, MANIFEST_FILE = "backup_label", "tablespace_map", "backup_manifest"
# How soon a restarted server is noticed, and how often a lease is renewed.
LOOK_SECONDS = 10.0
BLOCKS_TOLD = 20


@dataclass(frozen=True, slots=True)
class FileStream:
    """Obeys `ports.PartStream`: bytes without rows."""

    chunks: Iterator[Buffer]
    rows: int | None = None
    members: Sequence[Member] = ()

    def __iter__(self) -> Iterator[Buffer]:
        return self.chunks


@dataclass(kw_only=True)
class PhysicalSnapshot:
    """Obeys `ports.Snapshot` and `ports.Closing`; made by `PhysicalSource.open`.

    `name` is what another run can rejoin it by.
    """

    found: ClusterFacts
    holding: Holding
    layout: Layout
    name: str
    findings: Findings = field(default_factory=Findings)
    consistency: Consistency = Consistency.SNAPSHOT
    ended: Ended | None = None
    ended_at: datetime | None = None
    _texts: dict[str, bytes] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _problem: HoldfastError | None = None

    @property
    def server(self) -> Server:
        return Server(kind=KIND, version=self.found.version, database="cluster")

    @property
    def taken_at(self) -> datetime:
        return self.holding.begun.begun_at

    @property
    def tools(self) -> dict[str, str]:
        return {}

    @property
    def parts(self) -> Sequence[PartPlan]:
        return self.layout.parts

    @property
    def proof(self) -> dict[str, str]:
        begun = self.holding.begun
        found = {
            "snapshot": self.name,
            "system_identifier": begun.anchor.system_identifier,
            "timeline": str(begun.anchor.timeline),
            "start_lsn": begun.start_lsn,
            "wal_reserved_by": begun.slot or "nothing",
            "page_checksums": self._page_checksums(),
        }
        if self.ended is not None:
            found["stop_lsn"] = self.ended.stop_lsn
        if self.ended_at is not None:
            found["ended_at"] = self.ended_at.isoformat()
        if self.findings.vanished:
            found["vanished"] = f"{len(self.findings.vanished)} files were dropped on the way"
        if self.findings.bad:
            found["bad_pages"] = "; ".join(
                f"{path}: {', '.join(map(str, sorted(blocks)[:BLOCKS_TOLD]))}"
                for path, blocks in sorted(self.findings.bad.items())
            )
        return found

    def _page_checksums(self) -> str:
        return f"{self.findings.pages} pages verified" if self.found.has_checksums else "off"

    @contextmanager
    def read(self, part: PartPlan) -> Iterator[PartStream]:
        reader = self._reader()
        if part.kind is PartKind.FILE:
            (entry,) = self.layout.contents[part.name]
            yield FileStream(reader.file(entry))
        elif part.kind is PartKind.FILE_PACK:
            yield FileStream(reader.pack(self.layout.contents[part.name]))
        elif part.kind is PartKind.WAL:
            yield FileStream(self._wal(reader, part))
        else:
            yield FileStream(iter([self._texts[part.details["path"]]]))

    def closing_parts(self, stored: Sequence[Part]) -> Sequence[PartPlan]:
        """The WAL, `pg_control` (read after all it must not be older than), labels, manifest."""
        self.require_alive()
        try:
            control = (self.found.data / CONTROL_FILE).read_bytes()
        except OSError as error:
            raise unreadable(self.found.data / CONTROL_FILE, error) from error
        with self._turn:
            self.ended, self.ended_at = self.holding.end(), datetime.now(UTC)
        self._texts = {CONTROL_FILE: control, LABEL_FILE: self.ended.backup_label.encode()}
        manifest = self._manifest(stored)
        if self.ended.tablespace_map:
            self._texts[MAP_FILE] = self.ended.tablespace_map.encode()
        self._texts[MANIFEST_FILE] = manifest
        self._tell_bad_pages()
        return [*self._wal_parts(), *(self._text_part(path) for path in self._texts)]

    def abort(self) -> None:
        self._problem = self._problem or SnapshotLost("cannot go on: the backup was ended")

    def require_alive(self) -> None:
        """Raises what became of the backup, where it is worth nothing any more."""
        if self._problem is not None:
            raise self._problem

    @contextmanager
    def tended(self, *, seconds: float = LOOK_SECONDS) -> Iterator[None]:
        """Look at the session every now and then, and stop all reads where it is gone."""
        done = threading.Event()

        def tend() -> None:
            while not done.wait(seconds):
                with self._turn:
                    if self.ended is not None:
                        return
                    try:
                        self.holding.look()
                    except HoldfastError as error:
                        self._problem = self._problem or error
                        return

        thread = threading.Thread(target=tend, name="tender", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _reader(self) -> Reader:
        return Reader(
            data=self.found.data,
            start=Position.parse(self.holding.begun.start_lsn).byte,
            checks_pages=self.found.has_checksums,
            findings=self.findings,
            look=self.require_alive,
        )

    def _wal_parts(self) -> Iterator[PartPlan]:
        begun = self.holding.begun
        for name in segments_between(
            begun.anchor.timeline,
            Position.parse(begun.start_lsn),
            Position.parse(self._stop_lsn),
            segment_bytes=self.found.wal_segment_bytes,
        ):
            self._require_segment(name)
            yield PartPlan(
                name=f"wal/{name.lower()}",
                kind=PartKind.WAL,
                estimated_bytes=self.found.wal_segment_bytes,
                details={"path": f"pg_wal/{name}"},
            )

    def _wal(self, reader: Reader, part: PartPlan) -> Iterator[Buffer]:
        path = part.details["path"]
        yield from reader.file(Entry(path=path, size_bytes=part.estimated_bytes))
        # It may have been recycled under our hands: then its header says so now.
        self._require_segment(path.removeprefix("pg_wal/"))

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

    def _manifest(self, stored: Sequence[Part]) -> bytes:
        begun, files = self.holding.begun, list(self._files(stored))
        for path, content in self._texts.items():
            files.append(
                ManifestFile(
                    path=path,
                    size_bytes=len(content),
                    modified=begun.begun_at.timestamp(),
                    sha256=hashlib.sha256(content).hexdigest(),
                )
            )
        return backup_manifest.encode(
            files,
            WalRange(
                timeline=begun.anchor.timeline, start_lsn=begun.start_lsn, end_lsn=self._stop_lsn
            ),
            server_version=self.found.version_number,
            system_identifier=self.found.system_identifier,
        )

    def _files(self, stored: Sequence[Part]) -> Iterator[ManifestFile]:
        """Those in packs as they were read; those with a part of their own as they are stored."""
        for path, read in self.findings.files.items():
            if read.sha256:
                yield ManifestFile(
                    path=path,
                    size_bytes=read.size_bytes,
                    modified=read.modified,
                    sha256=read.sha256,
                )
        for part in stored:
            path = part.details.get("path", "")
            if part.kind is PartKind.FILE and path not in self.findings.vanished:
                yield ManifestFile(
                    path=path,
                    size_bytes=part.plain_bytes,
                    modified=self.taken_at.timestamp(),
                    sha256=part.plain_sha256,
                )

    def _text_part(self, path: str) -> PartPlan:
        details = {"path": path}
        if path == LABEL_FILE:
            details["tablespaces"] = json.dumps(self.found.tablespaces)
            details["vanished"] = json.dumps(sorted(self.findings.vanished))
        return PartPlan(
            name=f"end/{path.rpartition('/')[2]}",
            kind=PartKind.CLOSING,
            estimated_bytes=len(self._texts[path]),
            details=details,
        )

    def _tell_bad_pages(self) -> None:
        for path, blocks in sorted(self.findings.bad.items()):
            events.error("pages_damaged", file=path, blocks=sorted(blocks)[:BLOCKS_TOLD])
