"""Parts of an unfinished backup that the next run need not take again."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.places import is_part_of
from holdfast.model.backup import Part, PartKind, PartPlan
from holdfast.model.errors import HoldfastError, ObjectMissing
from holdfast.operations.context import Context
from holdfast.pipeline.flow import Fingerprint, flow
from holdfast.ports.host_state import Unfinished
from holdfast.ports.repository import Repository
from holdfast.ports.source import Source
from holdfast.runtime import events

PARTS = "/parts/"
AGAIN = "again-"
_OTHER_KEY = re.compile(rf"{PARTS}{AGAIN}[0-9a-f]{{8}}/")
# What these hold would not fit the rows of another moment: they are always taken anew. Blobs
# are found again by their content.
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
# A file of another base backup lacks the WAL that would mend it.
_OF_ONE_BACKUP = {PartKind.FILE, PartKind.FILE_PACK, PartKind.WAL}


def unfinished(context: Context, source: Source) -> Unfinished | None:
    """What an earlier run left; nothing where it was killed just after its manifest was stored."""
    found = context.journal.read(context.job.name, source.database)
    if found is None or not Catalog(context.repository).is_finished(found.backup_id):
        return found
    events.info("finished_already", backup=found.backup_id)
    return None


class Reusable:
    """The parts that are there already; each is read back before it is believed."""

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
        # What was sealed for others, or not at all, must not slip into this backup.
        self._is_for_us = earlier is None or set(earlier.recipients) == set(recipients)
        self._is_mixed = is_mixed
        self._used: list[str] = []
        self._lock = threading.Lock()

    @property
    def used_mixed(self) -> bool:
        return self._is_mixed and bool(self._used)

    def proof(self) -> dict[str, str]:
        """What the manifest has to say about them."""
        if not self._used:
            return {}
        found = {"resumed_parts": str(len(self._used))}
        if self._is_mixed:
            found["mixed"] = ", ".join(sorted(self._used)) + " are of an earlier snapshot"
        return found

    def part_for(self, plan: PartPlan, key: str, *, advance: Callable[[int], None]) -> Part | None:
        """The part that `plan` would become, where it is stored and whole; else what is under
        `key` is removed, if the store lets us."""
        part = self._parts.get(plan.name)
        if part is not None and self._is_ours(part, plan, key) and self._is_whole(part, advance):
            with self._lock:
                self._used.append(part.name)
            return part
        if self._earlier is not None:
            # Stored but never written down, or not to be trusted.
            for stored in {key, part.key if part is not None else key}:
                if self._is_below(stored):
                    self._repository.delete(stored)
        return None

    def free_key(self, key: str) -> str:
        """`key`, or another one of the same backup where the store keeps what is there."""
        if self._earlier is None:
            return key
        try:
            self._repository.stat(key)
        except ObjectMissing:
            return key
        return key.replace(PARTS, f"{PARTS}{AGAIN}{secrets.token_hex(4)}/", 1)

    def _is_below(self, key: str) -> bool:
        """Whether it is of this backup: a journal that is damaged may say anything."""
        return self._earlier is not None and is_part_of(self._earlier.backup_id, key)

    def _is_ours(self, part: Part, plan: PartPlan, key: str) -> bool:
        return self._is_for_us and _usual(part.key) == key and self._fits(part, plan)

    def _fits(self, part: Part, plan: PartPlan) -> bool:
        if plan.kind in _OF_ONE_MOMENT or (self._is_mixed and plan.kind in _OF_ONE_BACKUP):
            return False
        # A marker of blobs belongs to its own snapshot; all else must be the same part.
        return (part.kind, part.relation, _lasting(part.details)) == (
            plan.kind,
            plan.relation,
            _lasting(plan.details),
        )

    def _is_whole(self, part: Part, advance: Callable[[int], None]) -> bool:
        stored = Fingerprint(advance=advance)
        try:
            with self._repository.open(part.key) as chunks:
                for _ in flow(chunks, [stored]):
                    if stored.size_bytes > part.stored_bytes:
                        return False
        except HoldfastError:
            return False
        return (stored.size_bytes, stored.sha256) == (part.stored_bytes, part.stored_sha256)


def _usual(key: str) -> str:
    """The key of a part as it is where nothing was in its way."""
    return _OTHER_KEY.sub(PARTS, key, count=1)


def _lasting(details: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in details.items() if name != "blob_marker"}
