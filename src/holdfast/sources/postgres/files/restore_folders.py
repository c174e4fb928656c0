"""The folders that a cluster is restored into, and that nothing is ever written outside of them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.model.errors import RestoreFailed, TargetNotEmpty, Unsupported, VerifyFailed
from holdfast.runtime.beneath import Beneath, NotBeneath
from holdfast.runtime.files import PASSABLE_FOLDER, make_folder

LINKS = "pg_tblspc"
FOLDER_MODE, FILE_MODE = 0o700, 0o600
# `initdb -g`: a group may read, and a server refuses any other right on its data directory.
GROUP_FOLDER_MODE, GROUP_FILE_MODE = 0o750, 0o640
# Nobody but the owner writes, whatever a backup says, and the owner always may.
_MOST, _LEAST_OF_FOLDERS, _LEAST_OF_FILES = 0o755, 0o700, 0o600
_OID = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_LARGEST_OID = (1 << 32) - 1
_NOT_OURS = "it is damaged, or somebody has changed it: restore from another backup"


def require_oid(text: str) -> str:
    """The OID of a tablespace, which becomes a name of a folder; raises `VerifyFailed`."""
    if not _OID.fullmatch(text) or int(text) > _LARGEST_OID:
        raise VerifyFailed(
            f"cannot trust this backup: it calls a tablespace '{text}', which is no OID",
            hint=_NOT_OURS,
        )
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreFolders:
    """A data directory, and the folder of each tablespace by its OID, in `spaces`.

    What says nothing of its rights gets those of a cluster that its group may read, or not.
    """

    data: Path
    spaces: Mapping[str, Path]
    is_for_group: bool = False
    _made: set[str] = field(default_factory=set)

    @property
    def all(self) -> list[Path]:
        return [self.data, *self.spaces.values()]

    def require_apart(self) -> None:
        """Raises `Unsupported` where one of them is another one, or inside of it."""
        where = [(folder, folder.resolve()) for folder in self.all]
        for number, (folder, place) in enumerate(where):
            for other, beside in where[number + 1 :]:
                if place.is_relative_to(beside) or beside.is_relative_to(place):
                    raise Unsupported(
                        f"cannot restore into '{folder}' and '{other}': one is inside the other",
                        hint="?tablespaces=DIRECTORY names a folder outside of the data directory",
                    )

    def prepare(self) -> None:
        """Make them, and the links from the data directory; all of it lasts once it was synced."""
        for folder in self.all:
            make_folder(folder, mode=self._folder_mode, above=PASSABLE_FOLDER)
            folder.chmod(self._folder_mode)
        data = Beneath(self.data)
        data.make_folders(LINKS)
        for oid, folder in self.spaces.items():
            data.symlink(str(folder), f"{LINKS}/{require_oid(oid)}")

    @property
    def _folder_mode(self) -> int:
        return GROUP_FOLDER_MODE if self.is_for_group else FOLDER_MODE

    def make_folder(self, path: str, *, mode: int = 0) -> None:
        """One that is there already, as others had to be made in it, gets its `mode` now."""
        root, name = self._rooted(path)
        if path not in self._made:
            root.make_folders(name, mode=self._folder_mode)
            self._made.add(path)
        if mode and name:
            root.set_folder_mode(name, mode & _MOST | _LEAST_OF_FOLDERS)

    def create(self, path: str, *, is_piece: bool = False, mode: int = 0) -> int:
        """A descriptor to write the file `path`, which nobody made before, unless it `is_piece`:
        then others may be writing to it too. Raises `OSError`."""
        above = path.rpartition("/")[0]
        if above:
            self.make_folder(above)
        root, name = self._rooted(path)
        otherwise = GROUP_FILE_MODE if self.is_for_group else FILE_MODE
        rights = mode & _MOST | _LEAST_OF_FILES if mode else otherwise
        if is_piece:
            return root.extend(name, mode=rights)
        return root.create(name, mode=rights)

    def _rooted(self, path: str) -> tuple[Beneath, str]:
        """The folder that `path` of the backup belongs into, and its name there: what is in a
        tablespace is written there by itself, never through a link."""
        first, _, rest = path.partition("/")
        oid, _, inside = rest.partition("/")
        if first == LINKS and oid in self.spaces:
            return Beneath(self.spaces[oid]), inside
        return Beneath(self.data), path


def require_empty(folders: Iterable[Path]) -> list[bool]:
    """Whether each is there; raises `TargetNotEmpty` where something is in one."""
    return [_require_empty(folder) for folder in folders]


def _require_empty(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            if next(entries, None) is not None:
                raise TargetNotEmpty(
                    f"cannot restore into '{folder}': it contains files",
                    hint="name another folder: a cluster is never written over",
                )
    except FileNotFoundError:
        return False
    except OSError as error:
        raise restore_failed(folder, error) from error
    return True


def empty(folder: Path, *, remove: bool) -> None:
    """Take away what a failed restore has made; never hides why it failed."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink()
        if remove:
            folder.rmdir()


def restore_failed(path: Path, error: Exception) -> RestoreFailed:
    """Why a file or a folder could not be made, and what to do about it."""
    if isinstance(error, NotBeneath):
        return RestoreFailed(f"cannot restore '{path}': {error.strerror}", hint=_NOT_OURS)
    cause = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
    return RestoreFailed(
        f"cannot restore '{path}': {cause}", hint="is there room, and is the folder yours?"
    )
