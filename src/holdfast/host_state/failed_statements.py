"""Statements of objects that a restore could not make, as a script that waits to be run."""

from __future__ import annotations

import secrets
from pathlib import Path

from holdfast.runtime.cleanup import on_failure
from holdfast.runtime.files import discard, make_state_folder, state_errors, write_private


class FileFailedStatements:
    """Obeys `ports.FailedStatements`: a private file in `folder` for each restore."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, backup_id: str, script: str) -> str:
        """Whole or not at all; raises `ConfigInvalid` where the folder cannot be written."""
        make_state_folder(self._folder)
        # A second restore of one backup must not take the first one's list away.
        name = f"{backup_id.replace('/', '-')}-{secrets.token_hex(4)}"
        path, unfinished = self._folder / f"{name}.sql", self._folder / f".{name}.tmp"
        with on_failure(discard, unfinished):
            # What is no UTF-8 in a definition comes out again as it went in.
            write_private(unfinished, script.encode("utf-8", errors="surrogateescape"))
            with state_errors(path):
                unfinished.rename(path)
        return str(path)
