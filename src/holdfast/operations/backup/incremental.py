"""Backups of what changed since another one: from begin to end its parents must be there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.catalog.catalog import Catalog, Survey
from holdfast.model.backup import BadPart, Manifest, Part
from holdfast.model.chain import ancestors, by_id, is_whole
from holdfast.model.errors import BackupFailed, BackupNotFound, HoldfastError, VerifyFailed
from holdfast.operations.context import Context
from holdfast.operations.parts.write import proven
from holdfast.pipeline.flow import Fingerprint, flow
from holdfast.ports.repository import Repository
from holdfast.ports.source import EarlierBackup, Snapshot, Source
from holdfast.runtime.cleanup import afterwards


def following(context: Context, source: Source) -> Source:
    """`source` with the earlier backups of its job to go on from, where it knows how to."""

    @contextmanager
    def open_part(part: Part) -> Iterator[Iterator[bytes]]:
        if part.encryption == "none":
            plain = proven(context.repository, part)
            with afterwards(plain.close):
                yield plain
            return
        with context.lists.open(context.job.name) as known:
            yield _same_as(part, known)

    return source.after(EarlierBackup(manifests=lambda: _restorable(context), open_part=open_part))


def offer_list(context: Context, snapshot: Snapshot) -> None:
    """Keep here what the next backup must be asked for with, where this one will be sealed."""
    chunks = snapshot.listing()
    if context.job.recipients and chunks is not None:
        context.lists.offer(context.job.name, chunks)


def require_parents(catalog: Catalog, manifest: Manifest) -> None:
    """Raises `BackupFailed` where a backup that `manifest` needs went while it was taken."""
    try:
        chain_of(catalog, manifest)
    except HoldfastError as error:
        if not isinstance(error, BackupNotFound | VerifyFailed):
            raise
        raise BackupFailed(
            f"cannot finish backup '{manifest.backup_id}': {error.message}",
            hint="run the backup again: it goes on from another one, or takes everything",
        ) from error


def chain_of(catalog: Catalog, manifest: Manifest) -> list[Manifest]:
    """What `manifest` is restored on top of, the full backup first; none for a full one.

    Raises `VerifyFailed` where one of them is not there, and what it is to read them.
    """
    known: dict[str, Manifest] = {}
    parent = manifest.parent
    while parent and parent not in known:
        try:
            known[parent] = catalog.find(parent)
        except BackupNotFound:
            break
        parent = known[parent].parent
    return ancestors(manifest, known)


def missing_parents(repository: Repository, manifest: Manifest) -> Iterator[BadPart]:
    """Why `manifest` cannot be restored though it is whole itself: by manifests and one list of
    each backup that it needs."""
    try:
        chain = chain_of(Catalog(repository), manifest)
    except HoldfastError as error:
        if not isinstance(error, VerifyFailed):
            raise
        yield BadPart(name=f"parent {manifest.parent}", problem=error.message)
        return
    for each in chain:
        there = {stored.key: stored.size_bytes for stored in repository.list(each.backup_id)}
        for part in each.parts:
            if there.get(part.key) != part.stored_bytes:
                yield BadPart(
                    name=f"parent {each.backup_id}",
                    problem=f"cannot restore '{manifest.backup_id}': '{part.name}' of"
                    f" '{each.backup_id}', which it needs, is not there as it was stored",
                )


def broken_chains(survey: Survey) -> Iterator[tuple[str, BadPart]]:
    """The backups of a job that need one that is not in it, by their ids."""
    known = by_id(survey.manifests)
    for each in survey.manifests:
        try:
            ancestors(each, known)
        except VerifyFailed as error:
            yield each.backup_id, BadPart(name=f"parent {each.parent}", problem=error.message)


def _same_as(part: Part, known: Iterator[bytes]) -> Iterator[bytes]:
    """What this host has kept of `part`, which it can no longer read itself.

    Raises `VerifyFailed` at the end where it is not the same.
    """
    seen = Fingerprint()
    yield from (bytes(chunk) for chunk in flow(known, [seen]))
    if (seen.size_bytes, seen.sha256) != (part.plain_bytes, part.plain_sha256):
        raise VerifyFailed(
            f"cannot go on from '{part.key}': it is sealed, and this host has no copy of it"
        )


def _restorable(context: Context) -> list[Manifest]:
    """Newest first, without what is known to be damaged, or needs what is."""
    damaged = context.proofs.damaged(context.job.name)
    survey = Catalog(context.repository).survey(context.job.name)
    sound = [each for each in survey.manifests if each.backup_id not in damaged]
    known = by_id(sound)
    return [each for each in sound if is_whole(each, known)]
