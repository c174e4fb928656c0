"""Check whether a backup and its archived WAL reach a recovery target safely.

Tablespaces that the recovery would create in folders in use on this host are found beforehand.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.errors import ObjectMissing, RestoreFailed, TargetOutOfReach, Unsupported
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.recovery import Recovery, RecoveryTarget, moment_of
from holdfast.model.timelines import ClusterWal, Stretch
from holdfast.model.wal import Position, WalName, numbered_name
from holdfast.model.wal_records import PAGE_BYTES, End, Segment, TablespaceMade
from holdfast.operations.parts.read import proven
from holdfast.operations.wal.list import archived, lacking, named
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.tablespaces import in_use, is_in_use, segment_at
from holdfast.runtime.worker_pool import WorkerPool

if TYPE_CHECKING:
    from holdfast.model.backup import Manifest
    from holdfast.model.wal_archive import ArchivedFile
    from holdfast.pipeline.encryption import Identities
    from holdfast.ports.repository import Repository
    from holdfast.ports.run import Clock

AT_ONCE = 8
# The archiving host's clock may differ from that of the server that wrote the times in the WAL.
SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The archived WAL that leads to a target; None if the backup's own WAL is enough.

    `notes` say what may prevent the recovery.
    """

    wal: ClusterWal | None = None
    path: tuple[Stretch, ...] = ()
    notes: tuple[str, ...] = ()


def require_reachable(
    repository: Repository, manifest: Manifest, recovery: Recovery, *, clock: Clock
) -> Way:
    """Raise `TargetOutOfReach` if the target cannot be reached.

    Raises `Unsupported` if the backup is no base backup, which WAL cannot bring forward.
    """
    own = manifest.proof.wal
    if own is None:
        raise Unsupported(
            f"cannot recover '{manifest.backup_id}' to a target: it is not a base backup",
            hint="WAL continues only from backups with method: physical",
        )
    _require_after(repository, manifest, recovery, now=clock())
    if recovery.goal is RecoveryTarget.IMMEDIATE:
        return Way()
    wal = next(
        (each for each in archived(repository, manifest.job) if each.cluster == own.cluster),
        None,
    )
    if wal is None:
        raise TargetOutOfReach(
            f"cannot recover '{manifest.backup_id}': no WAL of its cluster is archived",
            hint="restore it without a target; docs/wal.md says how to archive WAL for the next"
            " time",
        )
    return _require_way(wal, manifest, recovery)


def is_archived(repository: Repository, manifest: Manifest) -> bool:
    """Whether any WAL of the cluster of the backup is archived."""
    return any(
        each.cluster == manifest.proof.cluster for each in archived(repository, manifest.job)
    )


def _require_after(
    repository: Repository, manifest: Manifest, recovery: Recovery, *, now: datetime
) -> None:
    """Raises `TargetOutOfReach` for a target before the end of the backup or in the future.

    A cluster is not consistent before the end of its backup.
    """
    if recovery.goal is RecoveryTarget.TIME:
        wanted, ended = moment_of(recovery.value), ended_at(manifest)
        if wanted > now:
            raise TargetOutOfReach(
                f"cannot recover to {wanted:%Y-%m-%d %H:%M:%SZ}: this time is in the future",
                hint="--target latest replays all archived WAL",
            )
        if wanted < ended:
            _refuse_before(repository, manifest, recovery, ended=f"{ended:%Y-%m-%d %H:%M:%S.%fZ}")
    stop = _stop(manifest)
    if (
        recovery.goal is RecoveryTarget.LSN
        and stop
        and Position.parse(recovery.value) < Position.parse(stop)
    ):
        _refuse_before(repository, manifest, recovery, ended=stop)


def _refuse_before(
    repository: Repository, manifest: Manifest, recovery: Recovery, *, ended: str
) -> None:
    older = [
        each.backup_id
        for each in Catalog(repository).survey(manifest.job).manifests
        if each.proof.wal and _is_before(each, recovery)
    ]
    raise TargetOutOfReach(
        f"cannot recover '{manifest.backup_id}' to {recovery.told}: the backup ended at {ended},"
        " and is not consistent before that",
        hint=f"restore {older[0]}, which ended before"
        if older
        else "no backup of this job ended before that",
    )


def _is_before(manifest: Manifest, recovery: Recovery) -> bool:
    if recovery.goal is RecoveryTarget.TIME:
        return ended_at(manifest) <= moment_of(recovery.value)
    stop = _stop(manifest)
    return bool(stop) and Position.parse(stop) <= Position.parse(recovery.value)


def ended_at(manifest: Manifest) -> datetime:
    """When the server ended the backup; if unknown, the later time when it was finished."""
    own = manifest.proof.wal
    return own.ended_at if own and own.ended_at else manifest.finished_at


def _stop(manifest: Manifest) -> str:
    """The LSN at which the backup's own WAL ends; empty if unknown."""
    return manifest.proof.wal.stop if manifest.proof.wal else ""


def _require_way(wal: ClusterWal, manifest: Manifest, recovery: Recovery) -> Way:
    path = _path(wal, manifest, recovery)
    if recovery.goal is RecoveryTarget.LSN:
        path = _up_to(wal, path, recovery.value)
    gaps = [named(wal, each) for each in lacking(wal, path, manifest)]
    told = f"WAL is missing: {', '.join(gaps)}"
    if gaps and recovery.goal in (RecoveryTarget.LSN, RecoveryTarget.LATEST):
        raise TargetOutOfReach(
            f"cannot recover '{manifest.backup_id}' to {recovery.told}: {told}",
            hint="recover to a point before the gap, or restore a newer backup",
        )
    # Only the WAL itself says where a time or a name is: the server ends if it never reaches it.
    return Way(wal=wal, path=tuple(path), notes=(told,) if gaps else ())


def _path(wal: ClusterWal, manifest: Manifest, recovery: Recovery) -> list[Stretch]:
    span = manifest.proof.wal
    if span is None:
        return []
    own, start = span.timeline, span.start
    asked = recovery.timeline
    newest = max([own, *wal.timelines])
    end = newest if asked == "latest" else own if asked == "current" else int(asked)
    line = wal.timelines.get(end)
    left = [each.at for each in line.switches if each.timeline == own] if line else []
    if end != own and not any(Position.parse(at) >= Position.parse(start) for at in left):
        raise TargetOutOfReach(
            f"cannot recover '{manifest.backup_id}' to timeline {end}: it does not continue from"
            " this backup, or its history file is not archived",
            hint=f"--target-timeline current stays on timeline {own}",
        )
    if line is None:
        return []
    return wal.path(own, wal.segment_at(start), end)


def _up_to(wal: ClusterWal, path: Sequence[Stretch], lsn: str) -> list[Stretch]:
    """`path` up to the segment that holds the last byte before `lsn`, archived or not."""
    last = Position(Position.parse(lsn).byte - 1).segment(wal.segment_bytes)
    cut = [
        Stretch(timeline=each.timeline, first=each.first, last=min(each.last, last))
        for each in path
        if each.first <= last
    ]
    if cut and cut[-1].last < last:
        cut[-1] = Stretch(timeline=cut[-1].timeline, first=cut[-1].first, last=last)
    return cut


@dataclass(frozen=True, slots=True, kw_only=True)
class WayAhead:
    """The archived WAL from a backup to the target of `recovery`, in replay order."""

    repository: Repository
    manifest: Manifest
    recovery: Recovery
    wal: ClusterWal
    path: Sequence[Stretch]
    identities: Identities | None = None

    def require_free_folders(self, *, must_be_there: bool) -> list[str]:
        """Raise `TargetNotEmpty` if the recovery would create a tablespace in a folder in use.

        A missing folder would end the recovery. With `must_be_there` it raises `RestoreFailed`,
        else the returned notes name it for the operator, who has yet to start the server.
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
            f"WAL at {made.at} creates tablespace {made.oid} in '{made.location}', which does not"
            " exist"
        )
        if must_be_there:
            raise RestoreFailed(
                f"cannot recover '{self.manifest.backup_id}' to {self.recovery.told}: {what}",
                hint="create this folder for the server's user, or place it in /ANOTHER/"
                f"{made.oid} with restore --to 'file:///FOLDER?tablespaces=/ANOTHER'",
            )
        return f"{what}: create it before you start the server"

    def _files(self) -> list[ArchivedFile]:
        """The archived files of `path`; a missing one is in the backup, or ends the recovery."""
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
        return [each for each in WorkerPool(AT_ONCE).map(names, find) if each is not None]

    def _made_by(self, file: ArchivedFile) -> Sequence[TablespaceMade]:
        """The tablespaces that `file` makes, as recorded at archiving, else read from the file.

        Those made during the backup are left out: they already have another folder.
        """
        made = file.tablespaces
        if made is None:
            with self._opened(file) as segment:
                made = tuple(each.made for each in segment.tablespaces())
        stop = _stop(self.manifest)
        own = Position.parse(stop) if stop else Position(0)
        return [each for each in made if Position.parse(each.at) >= own]

    def _is_ahead(self, files: Sequence[ArchivedFile], made: TablespaceMade) -> bool:
        """Whether the recovery replays `made`; `files` are those up to the one that holds it."""
        recovery = self.recovery
        if recovery.goal is RecoveryTarget.LSN:
            # The record that begins at the target, or the first one after it, is replayed, too.
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

    def _opened(self, file: ArchivedFile) -> AbstractContextManager[Segment]:
        contents = WalContents(
            repository=self.repository, job=self.manifest.job, identities=self.identities
        )
        return contents.opened(file)


def _is_after(end: End, target: datetime) -> bool:
    return end.at is not None and end.at > target


@dataclass(frozen=True, slots=True, kw_only=True)
class WalContents:
    """Opens the archived segments of a job; `identities` open encrypted ones."""

    repository: Repository
    job: str
    identities: Identities | None = None

    @contextmanager
    def opened(self, file: ArchivedFile) -> Iterator[Segment]:
        """The verified content of a file; a record may continue in the next segment."""
        with tempfile.NamedTemporaryFile(prefix="holdfast-") as out:
            plain = proven(self.repository, file.part, identities=self.identities)
            with afterwards(plain.close):
                for chunk in plain:
                    out.write(chunk)
            out.flush()
            with segment_at(Path(out.name), lambda: self._beginning_after(file)) as segment:
                yield segment

    def _beginning_after(self, file: ArchivedFile) -> bytes:
        """The first page of the next segment; empty if that is not archived."""
        name, size_bytes = WalName.parse(file.name), file.part.plain_bytes
        if name is None:
            return b""
        number = name.number(size_bytes) + 1
        archive = WalArchive(self.repository, self.job)
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
