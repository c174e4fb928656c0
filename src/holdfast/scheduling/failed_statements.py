"""Statements of objects that a restore could not make, as a script that waits to be run."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from holdfast.scheduling.state import make_folder, open_private, state_errors


class FileFailedStatements:
    """Obeys `ports.FailedStatements`: a private file in `folder` for each restore."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, backup_id: str, script: str) -> str:
        """Whole or not at all; raises `ConfigInvalid` where the folder cannot be written."""
        make_folder(self._folder)
        # A second restore of one backup must not take the first one's list away.
        name = f"{backup_id.replace('/', '-')}-{secrets.token_hex(4)}"
        path, unfinished = self._folder / f"{name}.sql", self._folder / f".{name}.tmp"
        try:
            self._write(unfinished, script)
            with state_errors(path):
                unfinished.rename(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return str(path)

    def _write(self, path: Path, script: str) -> None:
        descriptor = open_private(path, os.O_WRONLY | os.O_EXCL)
        # What is no UTF-8 in a definition comes out again as it went in.
        with state_errors(path), os.fdopen(descriptor, "wb") as file:
            file.write(script.encode("utf-8", errors="surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
