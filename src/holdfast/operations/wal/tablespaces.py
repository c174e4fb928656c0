"""Tablespaces that a recovery would make in folders that are in use here, seen before it begins."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.backup import Manifest
from holdfast.model.errors import ObjectMissing, RestoreFailed
from holdfast.model.recovery import Recovery, RecoveryTarget, moment_of
from holdfast.model.timelines import ClusterWal, Stretch
from holdfast.model.wal import Position, WalName, numbered_name
from holdfast.model.wal_archive import ArchivedFile
from holdfast.model.wal_records import PAGE_BYTES, End, Segment, TablespaceMade
from holdfast.operations.parts.write import proven
from holdfast.operations.wal.list import STOP
from holdfast.pipeline.encryption import Identities
from holdfast.ports.repository import Repository
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.tablespaces import in_use, is_in_use, segment_at
from holdfast.runtime.worker_pool import run_all

AT_ONCE = 8
# Who archives may have another clock than the server whose times are in the WAL.
SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class WayAhead:
    """The archived WAL that leads from a backup to where `recovery` goes, in its order."""

    repository: Repository
    manifest: Manifest
    recovery: Recovery
    wal: ClusterWal
    path: Sequence[Stretch]
    identities: Identities | None = None

    def require_free_folders(self, *, must_be_there: bool) -> list[str]:
        """Raise `TargetNotEmpty` where a tablespace would be made in a folder that is in use.

        One that is not there ends a recovery: `RestoreFailed` where it `must_be_there`, else a
        note for the operator, who is still to start it.
        """
        notes: list[str] = []
        files = self._files()
        for number, file in enumerate(files):
            for made in self._made_by(file):
                if not made.location or not self._is_ahead(files[: number + 1], made):
                    continue
                if is_in_use(made.location):
                    raise in_use(made)
                if not Path(made.location).exists():
                    notes.append(self._require_there(made, must_be_there=must_be_there))
        return notes

    def _require_there(self, made: TablespaceMade, *, must_be_there: bool) -> str:
        what = (
            f"WAL at {made.at} makes tablespace {made.oid} in '{made.location}', which is not there"
        )
        if must_be_there:
            raise RestoreFailed(
                f"cannot recover '{self.manifest.backup_id}' to {self.recovery.told}: {what}",
                hint="make that folder for the server's user; or restore --to"
                f" 'file:///FOLDER?tablespaces=/ANOTHER', which has it in /ANOTHER/{made.oid}",
            )
        return f"{what}: make it before the server is started"

    def _files(self) -> list[ArchivedFile]:
        """What is archived; what is not is in the backup itself, or ends the recovery."""
        archive = WalArchive(self.repository, self.manifest.job)

        def find(name: str) -> ArchivedFile | None:
            try:
                return archive.find(self.wal.cluster, name)
            except ObjectMissing:
                return None

        names = [
            self.wal.name(stretch.timeline, number)
            for stretch in self.path
            for number in range(stretch.first, stretch.last + 1)
            if stretch.timeline in self.wal.timelines
            and number in self.wal.timelines[stretch.timeline].segments
        ]
        return [each for each in run_all(names, find, workers=AT_ONCE) if each is not None]

    def _made_by(self, file: ArchivedFile) -> Sequence[TablespaceMade]:
        """As was written down when it was archived, else as it says itself.

        Those that are made while the backup was taken have another folder already.
        """
        made = file.tablespaces
        if made is None:
            with self._opened(file) as segment:
                made = tuple(each.made for each in segment.tablespaces())
        stop = self.manifest.proof.get(STOP)
        own = Position.parse(stop) if stop else Position(0)
        return [each for each in made if Position.parse(each.at) >= own]

    def _is_ahead(self, files: Sequence[ArchivedFile], made: TablespaceMade) -> bool:
        """Whether the recovery goes further than that; `files` are those up to the one it is in."""
        recovery = self.recovery
        if recovery.goal is RecoveryTarget.LSN:
            # The record that begins at the target, or is the first behind it, is replayed too.
            return Position.parse(made.after) < Position.parse(recovery.value)
        if recovery.goal is RecoveryTarget.TIME:
            target = moment_of(recovery.value)
            late = [each for each in files if each.archived_at >= target - SKEW]
            return not self._ends_before(late, made, lambda end: _is_after(end, target))
        if recovery.goal is RecoveryTarget.NAME:
            name = recovery.value.encode()
            return not self._ends_before(files, made, lambda end: end.name == name)
        return recovery.goal is RecoveryTarget.LATEST

    def _ends_before(
        self, files: Sequence[ArchivedFile], made: TablespaceMade, is_target: Callable[[End], bool]
    ) -> bool:
        for file in files:
            with self._opened(file) as segment:
                for end in segment.ends():
                    if Position.parse(end.lsn) >= Position.parse(made.at):
                        return False
                    if is_target(end):
                        return True
        return False

    @contextmanager
    def _opened(self, file: ArchivedFile) -> Iterator[Segment]:
        """The content of a file, proven; a record that goes on in the next one is looked for there
        as well."""
        with tempfile.NamedTemporaryFile(prefix="holdfast-") as out:
            plain = proven(self.repository, file.part, identities=self.identities)
            with afterwards(plain.close):
                for chunk in plain:
                    out.write(chunk)
            out.flush()
            with segment_at(Path(out.name), lambda: self._beginning_after(file)) as segment:
                yield segment

    def _beginning_after(self, file: ArchivedFile) -> bytes:
        """Of the next segment, where it is archived."""
        name, size_bytes = WalName.parse(file.name), file.part.plain_bytes
        if name is None:
            return b""
        number = name.number(size_bytes) + 1
        archive = WalArchive(self.repository, self.manifest.job)
        try:
            found = archive.find(
                file.cluster, numbered_name(name.timeline, number, segment_bytes=size_bytes)
            )
        except ObjectMissing:
            return b""
        plain = proven(self.repository, found.part, identities=self.identities)
        with afterwards(plain.close):
            beginning = b""
        for chunk in plain:
            beginning += chunk[: PAGE_BYTES - len(beginning)]
        return beginning


def _is_after(end: End, target: datetime) -> bool:
    return end.at is not None and end.at > target
