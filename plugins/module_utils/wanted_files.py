"""Files and folders of root as they should be: how they differ, and the write."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

FILE_MODE, FOLDER_MODE = 0o644, 0o755
# How a module replaces a file: keeps the labels that the system gives to the place.
Move = Callable[[str, str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedFile:
    """The text of a file that root owns and everybody reads; None if it should not exist."""

    path: Path
    text: str | None

    def difference(self) -> dict[str, str] | None:
        """The difference as Ansible shows it; None if the file is as wanted."""
        exists = self.path.exists() or self.path.is_symlink()
        if self.text is None:
            return _shown(self.path, "present", "absent") if exists else None
        if not exists:
            return _shown(self.path, "", self.text)
        is_plain = self.path.is_file() and not self.path.is_symlink()
        before = self.path.read_text(errors="replace") if is_plain else ""
        if not is_plain or before != self.text:
            return _shown(self.path, before, self.text)
        return _owner_differs(self.path, FILE_MODE)

    def write(self, move: Move) -> None:
        """Write or remove the file; a reader sees the old one or the new one."""
        if self.text is None:
            self.path.unlink(missing_ok=True)
            return
        handle, name = tempfile.mkstemp(prefix="holdfast-file-")
        try:
            with os.fdopen(handle, "w") as out:
                out.write(self.text)
            # A link is replaced, never followed.
            if self.path.is_symlink():
                self.path.unlink()
            move(name, str(self.path))
            _own(self.path, FILE_MODE)
        finally:
            Path(name).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedFolder:
    """A folder that root owns and everybody may enter."""

    path: Path

    def difference(self) -> dict[str, str] | None:
        """The difference as Ansible shows it; None if the folder is as wanted."""
        if not self.path.is_dir():
            return _shown(self.path, "absent", "directory")
        return _owner_differs(self.path, FOLDER_MODE)

    def write(self, _unused: Move) -> None:
        """Make the folder, and correct its owner and mode."""
        self.path.mkdir(parents=True, exist_ok=True)
        _own(self.path, FOLDER_MODE)


def headed(head: str, lines: Iterable[str]) -> str:
    """The text of a file: its head from the role's template, then its lines."""
    return "".join(f"{line}\n" for line in (head.rstrip("\n"), *lines))


def _owner_differs(path: Path, mode: int) -> dict[str, str] | None:
    status = path.stat()
    found = (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))
    if found == (0, 0, mode):
        return None
    return _shown(path, "owner {}, group {}, mode {:04o}\n".format(*found),
                  f"owner 0, group 0, mode {mode:04o}\n")  # fmt: skip


def _own(path: Path, mode: int) -> None:
    os.chown(path, 0, 0)
    path.chmod(mode)


def _shown(path: Path, before: str, after: str) -> dict[str, str]:
    return {"before": before, "after": after, "before_header": str(path), "after_header": str(path)}
