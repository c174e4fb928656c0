"""Archive WAL files, each completely and once; another file of the same name is refused."""

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
    "two servers, or a server and its copy, archive under one job: give each its own job, and make"
    " a new backup of the server that stays in use"
)


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
    kept = WorkerPool(at_once).map(files, lambda each: _kept(context, each, identities))
    is_new = False

    def discard_rest() -> None:
        # Not the file that failed: its record may have been stored in spite of the error.
        _discard(kept[len(done) + 1 :])

    try:
        # Recorded in order, so that a concurrent reader never sees a gap.
        with afterwards(discard_rest):
            for each, found in zip(files, kept, strict=True):
                was_new = _recorded(context, each, found)
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


def _kept(
    context: ArchiveContext, file: WalFile, identities: Identities | None
) -> list[_Kept] | HoldfastError:
    """Store a file in each repository, without its record.

    An error is returned, not raised: that of a later file must not end the push of the first one.
    """
    trying = Retries(context.job.rules.attempts).trying
    what = f"archiving '{file.name.text}'"
    kept: list[_Kept] = []
    try:
        for repository in context.repositories:
            put = partial(_put, context, repository, file, identities=identities)
            kept.append(trying(put, on=RepositoryUnreachable, what=what))
    except TasksRefused:
        raise
    except HoldfastError as error:
        _discard([kept])
        return error
    return kept


def _discard(kept: Sequence[list[_Kept] | HoldfastError]) -> None:
    """Remove objects that get no record: a server that retries must not fill the repository."""
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
    """Record the file in each repository; returns whether it was new to any of them."""
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
            # Another push was faster. Our object has its own key, and no record refers to it.
            at.delete(part.key)
            require_same(known, part.plain_sha256)
            return False
    events.reached("wal-archived")
    return True


def require_same(known: ArchivedFile, digest: str, *, hint: str = TWO_SERVERS) -> None:
    """Raises `WalConflict` unless the archived file has the SHA-256 `digest`."""
    if known.part.plain_sha256 != digest:
        raise WalConflict(
            f"cannot archive '{known.name}': the archive of job '{known.job}' holds another file of"
            f" that name, from host '{known.host}' at {known.archived_at:%Y-%m-%d %H:%M:%SZ}",
            hint=hint,
        )


def make_way(
    repository: Repository, known: ArchivedFile, file: WalFile, *, identities: Identities | None
) -> None:
    """Remove `known` from the archive if it was archived before its server had finished it.

    That is proven if its content ends within the segment, and `file` is identical up to there.
    Raises `WalConflict` otherwise.
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
    except (TasksRefused, RepositoryUnreachable):
        raise
    except IdentityNeeded:
        require_same(
            known,
            file.sha256(),
            hint=f"{TWO_SERVERS}. If the archived file was pushed by hand before its server had"
            f" finished it, `holdfast wal push {known.job} {file.path} --identity FILE` replaces"
            " it",
        )
    except HoldfastError as error:
        events.warning("archived_wal_unreadable", file=known.name, problem=error.message)
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
