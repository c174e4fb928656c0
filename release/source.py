"""The source that a release is built from: a copy of the tracked files, its version, its time."""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lab import command, project
from lab.errors import LabError
from lab.state import PROJECT

EPOCH = "SOURCE_DATE_EPOCH"
FILE_MODE, PROGRAM_MODE, FOLDER_MODE = 0o644, 0o755, 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A folder with the tracked files; everything built from it carries the time `epoch`."""

    folder: Path
    version: str
    epoch: int

    @property
    def environment(self) -> dict[str, str]:
        """What makes a tool write the time of the commit instead of its own, everywhere."""
        # A variable with options of Python could make a tool do something else.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return kept | {EPOCH: str(self.epoch), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


@contextmanager
def copied() -> Iterator[Source]:
    """A copy of the working tree as git tracks it, which ends with the block."""
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    with TemporaryDirectory(prefix="holdfast-release-") as name:
        folder = Path(name, "holdfast")
        for path, inside in project.project_files():
            target = folder / inside
            target.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
            shutil.copyfile(path, target, follow_symlinks=False)
            if not path.is_symlink():
                # The umask of a clone does not get into a release.
                target.chmod(PROGRAM_MODE if path.stat().st_mode & 0o100 else FILE_MODE)
        yield Source(folder=folder, version=version, epoch=epoch())


def epoch() -> int:
    """The time of the release in seconds: of the commit, unless the environment names another."""
    told = os.environ.get(EPOCH)
    return int(told or command.run([*project.GIT, "log", "-1", "--format=%ct"]))


def require_commit() -> None:
    """Raise `LabError` if the working tree holds what no commit has."""
    changed = command.run([*project.GIT, "status", "--porcelain"]).splitlines()
    if changed:
        raise LabError(
            f"cannot build a release: {len(changed)} files differ from the commit",
            hint="commit or remove them, or pass --dirty for a trial",
        )
