"""The recovery of a throw-away cluster: how far it goes, and the archived WAL that it replays."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.recovery import Action, Recovery, RecoveryTarget
from holdfast.operations.restore.recovery import is_archived, require_reachable
from holdfast.operations.wal.get import Getting, get
from holdfast.runtime.tablespaces import NewTablespaces

if TYPE_CHECKING:
    from holdfast.model.backup import Manifest
    from holdfast.operations.context import ArchiveContext
    from holdfast.operations.verify.backup import BackupReader

AT_ONCE = 4
SPOOL = "wal-ahead"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRecovery:
    """Plans the recovery of `manifest` to `until`, else to the newest moment in the archive.

    `context` is called when WAL is fetched, for the archive in the repository of `reader`.
    """

    manifest: Manifest
    reader: BackupReader
    context: Callable[[], ArchiveContext]
    until: datetime | None = None

    def plan(self, restore_command: str) -> Recovery | None:
        """The recovery; None where the archive has no WAL of the cluster, and the backup's is all.

        Raises `TargetOutOfReach` for a target that the archive cannot reach, or not without a gap.
        """
        if self.until is None and not is_archived(self.reader.repository, self.manifest):
            return None
        recovery = Recovery(
            goal=RecoveryTarget.TIME if self.until else RecoveryTarget.LATEST,
            value=str(self.until or ""),
            restore_command=restore_command,
            action=Action.PROMOTE,
        )
        require_reachable(self.reader.repository, self.manifest, recovery, clock=self.reader.clock)
        return recovery

    def fetching(self, spaces: NewTablespaces) -> Callable[[str, Path], bool]:
        """What writes the WAL file of a name to a path; it returns False if that is not archived.

        The file is safe to replay: the tablespaces that it makes are `spaces`. Raises what `get`
        raises.
        """

        def fetch(name: str, path: Path) -> bool:
            wanted = Getting(
                cluster=self.manifest.proof.cluster,
                name=name,
                destination=path,
                spool=path.parent / SPOOL,
                at_once=AT_ONCE,
                identities=self.reader.identities,
                spaces=spaces,
            )
            return get(self.context(), wanted)

        return fetch
