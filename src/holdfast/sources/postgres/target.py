"""A PostgreSQL database as a restore target."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.model.backup import PartKind
from holdfast.model.restore import Restored, StoredParts
from holdfast.ports.run import Progress
from holdfast.ports.target import RestoreRequest, Target
from holdfast.sources.failed_objects import FailedObjects
from holdfast.sources.postgres.dump.restore import ArchiveRestore
from holdfast.sources.postgres.restore import selection
from holdfast.sources.postgres.restore.built_in import BuiltInRestore
from holdfast.sources.postgres.restore.selection import RestoreContext
from holdfast.sources.postgres.server.login import LOCK_WAIT_SECONDS, Login

APPLICATION_NAME = "holdfast-restore"


class PostgresTarget(Target):
    """A PostgreSQL database; the engine that made the backup decides how it is restored."""

    def __init__(
        self,
        *,
        url: str,
        password: str | None = None,
        tool_folders: Sequence[Path] = (),
        lock_wait_seconds: int = LOCK_WAIT_SECONDS,
    ) -> None:
        # Each restore has its own name, so that its leftover sessions can be found and ended.
        name = f"{APPLICATION_NAME}-{secrets.token_hex(4)}"
        login = Login.parse(
            url, password=password, application_name=name, lock_wait_seconds=lock_wait_seconds
        )
        login = replace(login, kept_in="the file of --password-file, or in --to")
        self._login = login.with_settings(application_name=name, dbname=login.database)
        self._tool_folders = tuple(tool_folders)

    @property
    def name(self) -> str:
        return self._login.described

    def restore(self, request: RestoreRequest, stored: StoredParts, progress: Progress) -> Restored:
        context = RestoreContext(
            request=request,
            stored=stored,
            progress=progress,
            failed=FailedObjects(keep_going=request.options.keep_going),
        )
        is_archive = bool(selection.of_kind(request.parts, PartKind.ARCHIVE))
        engine = ArchiveRestore if is_archive else BuiltInRestore
        return engine(context, login=self._login, tool_folders=self._tool_folders).run()
