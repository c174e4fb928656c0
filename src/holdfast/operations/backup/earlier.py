"""What earlier runs of a job left: parts to resume, parents for incrementals, open sessions."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdfast.catalog.catalog import Catalog, Survey
from holdfast.catalog.places import is_part_of
from holdfast.model.backup import BadPart, Manifest, Part, PartKind, PartPlan
from holdfast.model.chain import ancestors, by_id, is_whole
from holdfast.model.errors import (
    BackupFailed,
    BackupNotFound,
    HoldfastError,
    ObjectMissing,
    VerifyFailed,
)
from holdfast.model.lazy_dataclass import replace
from holdfast.operations.parts.read import proven
from holdfast.pipeline.flow import Fingerprint, flow
from holdfast.ports.source import EarlierBackup, Snapshot, Source
from holdfast.runtime import events, kernel_calls
from holdfast.runtime.cleanup import afterwards

if TYPE_CHECKING:
    from holdfast.model.proof import Proof
    from holdfast.operations.context import BackupContext
    from holdfast.ports.host_state import Unfinished
    from holdfast.ports.repository import Repository
    from holdfast.ports.sessions import Holder

PARTS = "/parts/"
AGAIN = "again-"
_OTHER_KEY = re.compile(rf"{PARTS}{AGAIN}[0-9a-f]{{8}}/")
# These would not fit the rows of another snapshot, so each run stores them again. Blobs are
# found again by their content.
_OF_ONE_MOMENT = {
    PartKind.PRE_DATA,
    PartKind.INDEXES,
    PartKind.POST_DATA,
    PartKind.SEQUENCES,
    PartKind.GRANTS,
    PartKind.GLOBALS,
    PartKind.BLOBS,
    PartKind.CLOSING,
}
# A file of another base backup lacks the WAL that would make it consistent.
_OF_ONE_BACKUP = {PartKind.FILE, PartKind.FILE_PACK, PartKind.WAL}


def unfinished(context: BackupContext, source: Source) -> Unfinished | None:
    """The journal entry of an unfinished run; None if there is none or its backup is finished.

    A run that is killed just after it stored its manifest leaves an entry, too.
    """
    found = context.state.journal.read(context.job.name, source.database)
    if found is None or not Catalog(context.repository).is_finished(found.backup_id):
        return found
    events.info("backup_already_finished", backup=found.backup_id)
    return None


class Reusable:
    """The parts that an earlier run stored; each is read back before it is reused."""

    def __init__(
        self,
        repository: Repository,
        earlier: Unfinished | None,
        *,
        is_mixed: bool,
        recipients: tuple[str, ...] = (),
    ) -> None:
        self._repository = repository
        self._earlier = earlier
        self._parts = {part.name: part for part in earlier.parts} if earlier else {}
        # Parts sealed for other recipients, or not sealed, must not enter this backup.
        self._is_for_us = earlier is None or set(earlier.recipients) == set(recipients)
        self._is_mixed = is_mixed
        self._used: list[str] = []
        self._lock = threading.Lock()

    @property
    def used_mixed(self) -> bool:
        return self._is_mixed and bool(self._used)

    def told_in(self, proof: Proof) -> Proof:
        """`proof` with the number of reused parts, and the names of those of another snapshot."""
        names = ", ".join(sorted(self._used))
        mixed = f"{names} come from an earlier snapshot" if self.used_mixed else ""
        return replace(proof, resumed_parts=len(self._used), mixed=mixed)

    def part_for(self, plan: PartPlan, key: str, *, advance: Callable[[int], None]) -> Part | None:
        """The stored part of `plan` if it can be reused; else None.

        Otherwise the object under `key` is removed, if the store allows that.
        """
        part = self._parts.get(plan.name)
        if part is not None and self._is_ours(part, plan, key) and self._is_whole(part, advance):
            with self._lock:
                self._used.append(part.name)
            return part
        if self._earlier is not None:
            # It was stored but not noted in the journal, or it cannot be trusted.
            for stored in {key, part.key if part is not None else key}:
                if self._is_below(stored):
                    self._repository.delete(stored)
        return None

    def free_key(self, key: str) -> str:
        """`key`, or another key of the same backup if the store did not remove the old object."""
        if self._earlier is None:
            return key
        try:
            self._repository.stat(key)
        except ObjectMissing:
            return key
        return key.replace(PARTS, f"{PARTS}{AGAIN}{kernel_calls.token_hex(4)}/", 1)

    def _is_below(self, key: str) -> bool:
        """Whether `key` belongs to this backup: a damaged journal may name any key."""
        return self._earlier is not None and is_part_of(self._earlier.backup_id, key)

    def _is_ours(self, part: Part, plan: PartPlan, key: str) -> bool:
        return self._is_for_us and _usual(part.key) == key and self._fits(part, plan)

    def _fits(self, part: Part, plan: PartPlan) -> bool:
        if plan.kind in _OF_ONE_MOMENT or (self._is_mixed and plan.kind in _OF_ONE_BACKUP):
            return False
        # A marker of blobs belongs to its own snapshot; everything else must match.
        return (part.kind, part.relation, part.details.lasting) == (
            plan.kind,
            plan.relation,
            plan.details.lasting,
        )

    def _is_whole(self, part: Part, advance: Callable[[int], None]) -> bool:
        stored = Fingerprint.like(part.stored_fingerprint, advance=advance)
        try:
            with self._repository.open(part.key) as chunks:
                for _ in flow(chunks, [stored]):
                    if stored.size_bytes > part.stored_bytes:
                        return False
        except HoldfastError:
            return False
        return (stored.size_bytes, stored.fingerprint) == (
            part.stored_bytes,
            part.stored_fingerprint,
        )


def _usual(key: str) -> str:
    """The key of a part without the suffix that `free_key` may have added."""
    return _OTHER_KEY.sub(PARTS, key, count=1)


def following(context: BackupContext, source: Source) -> Source:
    """`source` with access to the earlier backups of its job, for incremental backups."""

    @contextmanager
    def open_part(part: Part) -> Iterator[Iterator[bytes]]:
        if part.encryption == "none":
            plain = proven(context.repository, part)
            with afterwards(plain.close):
                yield plain
            return
        with context.state.file_lists.open(context.job.name) as known:
            yield _same_as(part, known)

    return source.after(EarlierBackup(manifests=lambda: _restorable(context), open_part=open_part))


def offer_list(context: BackupContext, snapshot: Snapshot) -> None:
    """Keep the snapshot's file list on this host if its parts are sealed.

    The next incremental backup needs the list, and this host cannot open a sealed one.
    """
    chunks = snapshot.listing()
    if context.job.form.recipients and chunks is not None:
        context.state.file_lists.offer(context.job.name, chunks)


def require_parents(catalog: Catalog, manifest: Manifest) -> None:
    """Raises `BackupFailed` if a backup that `manifest` needs was removed during the backup."""
    try:
        chain_of(catalog, manifest)
    except HoldfastError as error:
        if not isinstance(error, BackupNotFound | VerifyFailed):
            raise
        raise BackupFailed(
            f"cannot finish backup '{manifest.backup_id}': {error.message}",
            hint="run the backup again: it uses another parent, or makes a full backup",
        ) from error


def chain_of(catalog: Catalog, manifest: Manifest) -> list[Manifest]:
    """The backups below `manifest` in its chain, the full backup first; empty for a full one.

    Raises `VerifyFailed` if one of them is missing, and what reading them raises.
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
    """Problems in the chain below `manifest` that prevent its restore.

    Reads the manifests of the chain and lists the objects of each backup in it once.
    """
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
                    problem=f"cannot restore '{manifest.backup_id}': part '{part.name}' of its"
                    f" parent '{each.backup_id}' is missing or has another size",
                )


def broken_chains(survey: Survey) -> Iterator[tuple[str, BadPart]]:
    """The ids of the backups whose chain is broken, each with its problem."""
    known = by_id(survey.manifests)
    for each in survey.manifests:
        try:
            ancestors(each, known)
        except VerifyFailed as error:
            yield each.backup_id, BadPart(name=f"parent {each.parent}", problem=error.message)


def _same_as(part: Part, known: Iterator[bytes]) -> Iterator[bytes]:
    """This host's copy of `part`, which it can no longer open in the repository.

    Raises `VerifyFailed` at the end if the copy differs from the part.
    """
    seen = Fingerprint.like(part.plain_fingerprint)
    yield from (bytes(chunk) for chunk in flow(known, [seen]))
    if (seen.size_bytes, seen.fingerprint) != (part.plain_bytes, part.plain_fingerprint):
        raise VerifyFailed(
            f"cannot reuse '{part.key}': it is encrypted, and this host has no copy of its content"
        )


def _restorable(context: BackupContext) -> list[Manifest]:
    """The manifests, newest first, without backups that are damaged or need a damaged one."""
    damaged = context.state.verification_log.damaged(context.job.name)
    survey = Catalog(context.repository).survey(context.job.name)
    sound = [each for each in survey.manifests if each.backup_id not in damaged]
    known = by_id(sound)
    return [each for each in sound if is_whole(each, known)]


def left_sessions(holder: Holder | None, *, spare: Collection[str]) -> list[str]:
    """The sessions that earlier runs left open, except those to `spare`.

    Empty, with a warning, if the holder cannot be asked. Only the holder knows all sessions: a run
    that was killed early has not noted its own.
    """
    if holder is None:
        return []
    try:
        return [each for each in holder.left() if each not in spare]
    except HoldfastError as error:
        events.warning("sessions_not_listed", problem=error.message)
        return []


def end_left(holder: Holder | None, session_ids: Sequence[str]) -> None:
    """End sessions of dead runs; failures are logged.

    Call it only while holding the job: otherwise a run may still be using its session.
    """
    if holder is None:
        return
    for session_id in session_ids:
        try:
            holder.forget(session_id)
        except HoldfastError as error:
            events.warning("session_not_ended", session=session_id, problem=error.message)
        else:
            events.info("orphaned_session_ended", session=session_id)
