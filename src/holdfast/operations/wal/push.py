"""Archive WAL files, each completely and once; another file of the same name is refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.backup import Buffer, Part, PartKind
from holdfast.model.errors import (
    AlreadyStored,
    HoldfastError,
    Interrupted,
    ObjectMissing,
    RepositoryUnreachable,
    TasksRefused,
)
from holdfast.model.lazy_dataclass import dataclass, field, replace
from holdfast.model.wal_archive import ArchivedFile
from holdfast.operations.append_only import AppendOnly, Leftovers
from holdfast.operations.parts.read import stored_suffix
from holdfast.operations.parts.write import keep
from holdfast.operations.retry import Retries
from holdfast.operations.wal.files import (
    WalFile,
    cluster_beside,
    history_beside,
    ready_after,
    require_finished,
    wal_file,
)
from holdfast.operations.wal.list import require_cluster_of_wal
from holdfast.operations.wal.unfinished_segment import make_way, require_same
from holdfast.pipeline.compression import compressor
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.worker_pool import WorkerPool

if TYPE_CHECKING:
    from holdfast.operations.context import ArchiveContext
    from holdfast.pipeline.encryption import Identities
    from holdfast.ports.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """The result of one push; `ahead` names later files that were archived with it."""

    name: str
    cluster: str
    was_there: bool
    plain_bytes: int
    seconds: float
    ahead: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A file stored in one repository; without `part` it was archived there already."""

    repository: Repository
    part: Part | None = None


def push(
    context: ArchiveContext,
    path: Path,
    *,
    cluster: str = "",
    at_once: int = 1,
    is_finished: bool = False,
    identities: Identities | None = None,
) -> Pushed:
    """Archive the file at `path`, durably, in each of the job's repositories.

    The history file of its timeline is archived first. If another one is archived already, two
    servers were promoted, and their WAL must not be mixed. The next files that the server has
    marked as ready are archived, too: up to `at_once` files with this one. Their errors are only
    logged, as the server will push each of them itself. Archiving the same file again is no error.

    A segment that its server may still write to is refused unless `is_finished`. If an unfinished
    segment was archived, the finished one replaces it, provided that `identities` open it. Raises
    `WalConflict` if another file of that name is archived, `ClusterChanged`, `WalUnfit`, and what
    the repositories raise.
    """
    began = time.monotonic()
    context = _adding_only(context)
    file = _asked_for(context, path, cluster, is_finished=is_finished)
    asked, later = [*history_beside(file), file], ready_after(file, at_once - 1)
    files, done = [*asked, *later], list[WalFile]()
    is_new, unrecorded = False, _Unrecorded()
    putting = _Putting(context=context, identities=identities, unrecorded=unrecorded)
    try:
        with afterwards(unrecorded.discard):
            pool = WorkerPool(at_once, abort=putting.ended.set)
            kept = pool.map(files, partial(_kept, putting))
            # Recorded in order, so that a concurrent reader never sees a gap.
            for each, found in zip(files, kept, strict=True):
                was_new = _recorded(putting, each, found)
                is_new = was_new if each is file else is_new
                done.append(each)
    except HoldfastError as error:
        if file not in done:
            raise
        events.warning("wal_not_pushed_ahead", file=each.name.text, problem=error.message)
    sent = tuple(each.name.text for each in done[len(asked) :])
    return _pushed(file, is_new=is_new, seconds=time.monotonic() - began, ahead=sent)


def _pushed(file: WalFile, *, is_new: bool, seconds: float, ahead: tuple[str, ...]) -> Pushed:
    return Pushed(
        name=file.name.text,
        cluster=file.cluster,
        was_there=not is_new,
        plain_bytes=file.path.stat().st_size,
        seconds=round(seconds, 3),
        ahead=ahead,
    )


def _adding_only(context: ArchiveContext) -> ArchiveContext:
    leftovers = Leftovers()
    added_to = tuple(AppendOnly(each, leftovers) for each in context.repositories)
    return replace(context, repositories=added_to)


def _asked_for(context: ArchiveContext, path: Path, cluster: str, *, is_finished: bool) -> WalFile:
    file = wal_file(path, cluster or cluster_beside(path))
    if not is_finished:
        require_finished(file)
    require_cluster_of_wal(context, file.cluster)
    return file


class _Unrecorded:
    """The stored objects that no record refers to; several workers add theirs.

    A server repeats a push that ended early: without `discard`, each one would leave its objects.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: list[tuple[Repository, str]] = []

    def add(self, repository: Repository, key: str) -> None:
        with self._lock:
            self._objects.append((repository, key))

    def settle(self, repository: Repository, key: str) -> None:
        """Keep the object from now on: a record that refers to it may be stored, even on error."""
        with self._lock:
            self._objects.remove((repository, key))

    def discard(self) -> None:
        """Remove the objects; what a store does not remove now, nobody refers to."""
        with self._lock:
            objects, self._objects = self._objects, []
        for repository, key in objects:
            with suppress(HoldfastError):
                repository.delete(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Putting:
    """What each file of a push is put with; once it has `ended`, no put begins or continues.

    A put that is tried again could otherwise outlast the time that a service has to stop.
    """

    context: ArchiveContext
    identities: Identities | None
    unrecorded: _Unrecorded
    ended: threading.Event = field(default_factory=threading.Event)

    def require_going(self, file: WalFile) -> None:
        if self.ended.is_set():
            raise Interrupted(f"cannot archive '{file.name.text}': another put failed")

    def chunks(self, file: WalFile) -> Iterator[Buffer]:
        for chunk in file.chunks():
            self.require_going(file)
            yield chunk


def _kept(putting: _Putting, file: WalFile) -> list[_Kept] | HoldfastError:
    """Store a file in each repository, without its record.

    An error is returned, not raised: that of a later file must not end the push of the first one.
    """
    trying = Retries(putting.context.job.rules.attempts).trying
    what = f"archiving '{file.name.text}'"
    kept: list[_Kept] = []
    try:
        for repository in putting.context.repositories:
            put = partial(_put, putting, repository, file)
            kept.append(trying(put, on=RepositoryUnreachable, what=what))
    except TasksRefused:
        raise
    except HoldfastError as error:
        return error
    return kept


def _put(putting: _Putting, repository: Repository, file: WalFile) -> _Kept:
    putting.require_going(file)
    context = putting.context
    job, archive = context.job, WalArchive(repository, context.job.name)
    try:
        known = archive.find(file.cluster, file.name.text)
    except ObjectMissing:
        known = None
    if known is not None:
        if file.has(known.part.plain_fingerprint):
            return _Kept(repository=repository)
        make_way(repository, known, file, identities=putting.identities)
    began = time.monotonic()
    suffix = stored_suffix(job.form.codec, job.form.encryption)
    key = archive.content_key(
        file.cluster, file.name.text, token=context.new_token(), suffix=suffix
    )
    plain, stored = keep(
        repository,
        key,
        putting.chunks(file),
        compression=compressor(job.form.codec, job.form.level),
        recipients=job.form.recipients,
        # A server removes the file if the archive holds the same one: that has to be proven.
        fingerprints=replace(job.form.fingerprints, plain=job.form.fingerprints.stored),
    )
    putting.unrecorded.add(repository, key)
    events.reached("wal-stored")
    part = Part(
        name=file.name.text,
        key=key,
        kind=PartKind.WAL,
        relation=None,
        rows=None,
        plain_bytes=plain.size_bytes,
        plain_fingerprint=plain.fingerprint,
        stored_bytes=stored.size_bytes,
        stored_fingerprint=stored.fingerprint,
        codec=job.form.codec,
        encryption=job.form.encryption,
        seconds=round(time.monotonic() - began, 3),
    )
    return _Kept(repository=repository, part=part)


def _recorded(putting: _Putting, file: WalFile, kept: list[_Kept] | HoldfastError) -> bool:
    """Record the file in each repository; returns whether it was new to any of them."""
    if isinstance(kept, HoldfastError):
        raise kept
    new = [_record(putting, file, each.part, at=each.repository) for each in kept if each.part]
    return any(new)


def _record(putting: _Putting, file: WalFile, part: Part, *, at: Repository) -> bool:
    context = putting.context
    archive = WalArchive(at, context.job.name)
    record = ArchivedFile(
        job=context.job.name,
        cluster=file.cluster,
        name=file.name.text,
        host=context.host,
        archived_at=context.clock(),
        part=part,
        recipients=context.job.form.recipients,
        switches=file.switches(),
        tablespaces=file.tablespaces(),
    )
    putting.unrecorded.settle(at, part.key)
    try:
        archive.commit(record)
    except AlreadyStored:
        known = archive.find(file.cluster, file.name.text)
        if known.part.key != part.key:
            # Another push was faster. Our object has its own key, and no record refers to it.
            at.delete(part.key)
            require_same(known, file)
            return False
    events.reached("wal-archived")
    return True
