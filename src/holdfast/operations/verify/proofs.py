"""What this host has proven of each backup, by its log of readings and restores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from holdfast.model.errors import HoldfastError
from holdfast.model.lazy_dataclass import dataclass
from holdfast.operations.verify.backup import home_of, pieces_of
from holdfast.ports.host_state import ReadBack, Reread, VerificationLog
from holdfast.runtime import events

if TYPE_CHECKING:
    from holdfast.model.backup import Manifest, Summary

Known = dict[tuple[str, str], Reread]
"""The last reading of each object, by the id that the log uses for it and by its key."""
LookUp = Callable[[str], dict[str, Reread]]
State = Literal["never", "verified", "unopened", "damaged", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupProof:
    """When this host last read back and restored a whole backup, None for never.

    `unopened` means that some encrypted part was not: only its stored bytes were compared.
    `unknown` means that the manifest, which names the parts, cannot be read now.
    """

    state: State = "never"
    read_at: datetime | None = None
    restored_at: datetime | None = None


def proven_at(manifest: Manifest, verification_log: VerificationLog) -> datetime | None:
    """When the least recently read piece was read; None unless all were read and found good."""
    found = _readings(manifest, _remembering(verification_log))
    times = [each.at for each in found if each is not None and not each.problem]
    return min(times) if times and len(times) == len(found) else None


def proofs_of(
    summaries: Sequence[Summary],
    job: str,
    verification_log: VerificationLog,
    *,
    manifest_of: Callable[[str], Manifest],
) -> dict[str, BackupProof]:
    """The proof of each backup, by its id; a backup is verified once all of it was read back.

    A manifest is read only if the log has enough readings and the summary alone cannot tell whether
    they are those of the backup's parts and blobs.
    """
    known, look_up = verification_log.read_back(job), _remembering(verification_log)

    def proof_of(summary: Summary) -> BackupProof:
        read = known.get(summary.backup_id, ReadBack())
        if read.bad:
            return BackupProof(state="damaged", restored_at=read.restored_at)
        if read.parts < summary.parts:
            return BackupProof(restored_at=read.restored_at)
        if not summary.blobs and read.keys_fingerprint == summary.keys_fingerprint:
            state: State = "unopened" if read.unopened else "verified"
            return BackupProof(state=state, read_at=read.since, restored_at=read.restored_at)
        try:
            manifest = manifest_of(summary.backup_id)
        except HoldfastError as error:
            events.debug("proof_unknown", backup=summary.backup_id, problem=error.message)
            return BackupProof(state="unknown", restored_at=read.restored_at)
        return _of_readings(_readings(manifest, look_up), restored_at=read.restored_at)

    return {each.backup_id: proof_of(each) for each in summaries}


def known_of(manifests: Iterable[Manifest], verification_log: VerificationLog) -> Known:
    homes = {home_of(each.backup_id, piece) for each in manifests for piece in pieces_of(each)}
    return {
        (home, key): found for home in homes for key, found in verification_log.of(home).items()
    }


def _remembering(verification_log: VerificationLog) -> LookUp:
    """Look up readings by id. Those of the blobs, which backups share, are looked up once."""
    return lru_cache(maxsize=2)(verification_log.of)


def _readings(manifest: Manifest, look_up: LookUp) -> list[Reread | None]:
    """The last reading of each piece; None for one that was never read."""
    return [
        look_up(home_of(manifest.backup_id, each)).get(each.key) for each in pieces_of(manifest)
    ]


def _of_readings(readings: Sequence[Reread | None], *, restored_at: datetime | None) -> BackupProof:
    found = [each for each in readings if each is not None]
    if any(each.problem for each in found):
        return BackupProof(state="damaged", restored_at=restored_at)
    if not found or len(found) < len(readings):
        return BackupProof(restored_at=restored_at)
    return BackupProof(
        state="verified" if all(each.opened for each in found) else "unopened",
        read_at=min(each.at for each in found),
        restored_at=restored_at,
    )
