"""The verification log, in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime

from holdfast.model.backup import fingerprint_of_keys
from holdfast.ports.host_state import ReadBack, Reread


class MemoryVerificationLog:
    """Obeys `ports.host_state.VerificationLog`."""

    def __init__(self) -> None:
        self.known: defaultdict[str, dict[str, Reread]] = defaultdict(dict)
        self.restored_at: dict[str, datetime] = {}
        self.since: dict[str, dict[str, datetime]] = {}

    def reread(self, backup_id: str, key: str, found: Reread) -> None:
        before = self.known[backup_id].get(key)
        is_bad = before is not None and bool(before.problem) and before.opened
        if found.opened or found.problem or not is_bad:
            self.known[backup_id][key] = found

    def of(self, backup_id: str) -> dict[str, Reread]:
        return dict(self.known[backup_id])

    def damaged(self, job: str) -> set[str]:
        return {
            backup_id
            for backup_id, found in self.known.items()
            if backup_id.startswith(f"{job}/") and any(each.problem for each in found.values())
        }

    def restored(self, backup_id: str, *, at: datetime) -> None:
        self.restored_at[backup_id] = at

    def read_back(self, job: str) -> dict[str, ReadBack]:
        return {
            backup_id: ReadBack(
                parts=len(known := self.known.get(backup_id, {})),
                bad=sum(bool(each.problem) for each in known.values()),
                unopened=sum(not each.opened for each in known.values()),
                keys_fingerprint=fingerprint_of_keys(known) if known else "",
                since=min((each.at for each in known.values()), default=None),
                restored_at=self.restored_at.get(backup_id),
            )
            for backup_id in [*self.known, *(self.restored_at.keys() - self.known.keys())]
            if self.known.get(backup_id) or backup_id in self.restored_at
            if backup_id.startswith(f"{job}/" if job else "") and _is_backup(backup_id)
        }

    def forget(self, backup_id: str) -> None:
        self.known.pop(backup_id, None)
        self.restored_at.pop(backup_id, None)

    def keep_only(self, backup_id: str, keys: Collection[str]) -> None:
        for key in self.known[backup_id].keys() - set(keys):
            del self.known[backup_id][key]

    def unreferenced(
        self, job: str, keys: Collection[str], *, now: datetime
    ) -> dict[str, datetime]:
        before = self.since.get(job, {})
        self.since[job] = {key: before.get(key, now) for key in keys}
        return dict(self.since[job])


def _is_backup(backup_id: str) -> bool:
    return "/" in backup_id and not backup_id.endswith("/blobs")
