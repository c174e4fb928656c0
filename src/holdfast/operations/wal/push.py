"""Archive files of the WAL: each whole and once, never another one under its name."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.backup import Part, PartKind
from holdfast.model.errors import (
    AlreadyStored,
    HoldfastError,
    IdentityNeeded,
    Interrupted,
    ObjectMissing,
    RepositoryUnreachable,
    TasksRefused,
    WalConflict,
)
from holdfast.model.wal import WalKind
from holdfast.model.wal_archive import ArchivedFile
from holdfast.model.wal_records import Segment
from holdfast.operations.append_only import AppendOnly, Leftovers
from holdfast.operations.context import ArchiveContext
from holdfast.operations.parts.read import proven, stored_suffix
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
from holdfast.pipeline.compression import compressor
from holdfast.pipeline.encryption import Identities
from holdfast.ports.repository import Repository
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.tablespaces import segment_at
from holdfast.runtime.worker_pool import WorkerPool

TWO_SERVERS = (
    "two servers archive under one job, or a copy of this one does: give each a job of its own, and"
    " take a new backup of the one that goes on"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What became of the file that was asked for; `ahead` are others that went with it."""

    name: str
    cluster: str
    was_there: bool
    plain_bytes: int
    seconds: float
    ahead: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What one repository holds of a file by now; without `part` it was archived there already."""

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

    The history of its timeline goes before it: one that differs from what is archived means that
    two servers were promoted, whose WAL must not be mixed. With it go the next files that the
    server has marked as ready, `at_once` in all, for whose fate it will ask itself. The same file
    again is no error. One that its server may still write to is refused, unless somebody knows that
    it `is_finished`; where such a one is archived it gives way, if `identities` open it. Raises
    `WalConflict` where another one has its name, `ClusterChanged`, `WalUnfit`, and what the
    repositories raise.
    """
    began = time.monotonic()
    context = _adding_only(context)
    file = _asked_for(context, path, cluster, is_finished=is_finished)
    asked, later = [*history_beside(file), file], ready_after(file, at_once - 1)
    files, done = [*asked, *later], list[WalFile]()
    kept = WorkerPool(at_once).map(files, lambda each: _kept(context, each, identities))
    is_new = False

    def discard_rest() -> None:
        # Not the one that failed: its record may be there, whatever we were told.
        _discard(kept[len(done) + 1 :])

    try:
        # In their order, so that whoever looks meanwhile sees no gap.
        with afterwards(discard_rest):
            for each, found in zip(files, kept, strict=True):
                was_new = _recorded(context, each, found)
                is_new = was_new if each is file else is_new
                done.append(each)
    except Interrupted:
        raise
    except HoldfastError as error:
        if file not in done:
            raise
        events.warning("wal_not_sent_ahead", file=each.name.text, problem=error.message)
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


def _kept(
    context: ArchiveContext, file: WalFile, identities: Identities | None
) -> list[_Kept] | HoldfastError:
    """Errors are values here: those of files sent ahead must not end the one asked for."""
    trying = Retries(context.job.rules.attempts).trying
    what = f"archiving '{file.name.text}'"
    kept: list[_Kept] = []
    try:
        for repository in context.repositories:
            put = partial(_put, context, repository, file, identities=identities)
            kept.append(trying(put, on=RepositoryUnreachable, what=what))
    except (Interrupted, TasksRefused):
        raise
    except HoldfastError as error:
        _discard([kept])
        return error
    return kept


def _discard(kept: Sequence[list[_Kept] | HoldfastError]) -> None:
    """What was put and gets no record: a server that asks again and again must not fill a store."""
    for each in (each for found in kept if isinstance(found, list) for each in found):
        if each.part is not None:
            with suppress(HoldfastError):
                each.repository.delete(each.part.key)


def _put(
    context: ArchiveContext,
    repository: Repository,
    file: WalFile,
    *,
    identities: Identities | None,
) -> _Kept:
    job, archive = context.job, WalArchive(repository, context.job.name)
    try:
        known = archive.find(file.cluster, file.name.text)
    except ObjectMissing:
        known = None
    if known is not None:
        if known.part.plain_sha256 == file.sha256():
            return _Kept(repository=repository)
        make_way(repository, known, file, identities=identities)
    began = time.monotonic()
    suffix = stored_suffix(job.form.codec, job.form.encryption)
    key = archive.content_key(
        file.cluster, file.name.text, token=context.new_token(), suffix=suffix
    )
    plain, stored = keep(
        repository,
        key,
        file.chunks(),
        compression=compressor(job.form.codec, job.form.level),
        recipients=job.form.recipients,
    )
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


def _recorded(context: ArchiveContext, file: WalFile, kept: list[_Kept] | HoldfastError) -> bool:
    """Whether the file was new to any of the repositories."""
    if isinstance(kept, HoldfastError):
        raise kept
    new = [_record(context, file, each.part, at=each.repository) for each in kept if each.part]
    return any(new)


def _record(context: ArchiveContext, file: WalFile, part: Part, *, at: Repository) -> bool:
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
    try:
        archive.commit(record)
    except AlreadyStored:
        known = archive.find(file.cluster, file.name.text)
        if known.part.key != part.key:
            # Somebody was quicker. What we have put has a name of its own, and nobody knows it.
            at.delete(part.key)
            require_same(known, part.plain_sha256)
            return False
    events.reached("wal-archived")
    return True


def require_same(known: ArchivedFile, digest: str, *, hint: str = TWO_SERVERS) -> None:
    """Raises `WalConflict` where what is archived is another file than that of `digest`."""
    if known.part.plain_sha256 != digest:
        raise WalConflict(
            f"cannot archive '{known.name}': the archive of job '{known.job}' holds another file of"
            f" that name, from host '{known.host}' at {known.archived_at:%Y-%m-%d %H:%M:%SZ}",
            hint=hint,
        )


def make_way(
    repository: Repository, known: ArchivedFile, file: WalFile, *, identities: Identities | None
) -> None:
    """Take `known` out of the archive, which was put there before its server had finished it.

    Only where that is proven: it ends amid the segment, and `file` is the same one up to there.
    Raises `WalConflict` where it is not.
    """
    is_segment = file.name.kind is WalKind.SEGMENT
    if not is_segment or not _is_unfinished(repository, known, file, identities=identities):
        require_same(known, file.sha256())
    WalArchive(repository, known.job).forget(known)
    events.warning(
        "unfinished_wal_replaced", file=known.name, archived_at=known.archived_at.isoformat()
    )


def _is_unfinished(
    repository: Repository, known: ArchivedFile, file: WalFile, *, identities: Identities | None
) -> bool:
    try:
        with _opened(repository, known, identities) as early, segment_at(file.path) as finished:
            return not early.is_written_through and early.goes_on_in(finished)
    except (Interrupted, TasksRefused, RepositoryUnreachable):
        raise
    except IdentityNeeded:
        require_same(
            known,
            file.sha256(),
            hint=f"{TWO_SERVERS}. Was it pushed by hand before its server had finished it? Then"
            f" `holdfast wal push {known.job} {file.path} --identity FILE` replaces it",
        )
    except HoldfastError as error:
        events.warning("archived_wal_not_readable", file=known.name, problem=error.message)
    return False


@contextmanager
def _opened(
    repository: Repository, known: ArchivedFile, identities: Identities | None
) -> Iterator[Segment]:
    with tempfile.NamedTemporaryFile(prefix="holdfast-") as out:
        plain = proven(repository, known.part, identities=identities)
        with afterwards(plain.close):
            for chunk in plain:
                out.write(chunk)
        out.flush()
        with segment_at(Path(out.name)) as segment:
            yield segment
