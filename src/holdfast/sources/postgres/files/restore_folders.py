"""The folders that a cluster is restored into; no file is written outside of them."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import field
from pathlib import Path

from holdfast.model.errors import RestoreFailed, TargetNotEmpty, Unsupported, VerifyFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.runtime.beneath import Beneath, NotBeneath, create_in
from holdfast.runtime.files import PASSABLE_FOLDER, make_folder

LINKS = "pg_tblspc"
FOLDER_MODE, FILE_MODE = 0o700, 0o600
# `initdb -g`: the group may read. A server refuses a data directory with any further rights.
GROUP_FOLDER_MODE, GROUP_FILE_MODE = 0o750, 0o640
# Whatever the backup says, only the owner may write, and the owner always may.
_MOST, _LEAST_OF_FOLDERS, _LEAST_OF_FILES = 0o755, 0o700, 0o600
_OID = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_LARGEST_OID = (1 << 32) - 1
_NONE = -1
_NOT_OURS = "it is damaged or was altered: restore from another backup"


def require_oid(text: str) -> str:
    """Returns `text` if it is an OID, as it becomes a folder's name; else raises `VerifyFailed`."""
    if not _OID.fullmatch(text) or int(text) > _LARGEST_OID:
        raise VerifyFailed(
            f"cannot trust this backup: '{text}' is not the OID of a tablespace",
            hint=_NOT_OURS,
        )
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreFolders:
    """A data directory, and in `spaces` the folder of each tablespace by its OID.

    A file or folder without a mode of its own gets the default: with `is_for_group`, the group may
    read it.
    """

    data: Path
    spaces: Mapping[str, Path]
    is_for_group: bool = False
    _made: set[str] = field(default_factory=set)

    @property
    def all(self) -> list[Path]:
        return [self.data, *self.spaces.values()]

    def require_apart(self) -> None:
        """Raises `Unsupported` if two of the folders are the same or one contains the other."""
        where = [(folder, folder.resolve()) for folder in self.all]
        for number, (folder, place) in enumerate(where):
            for other, beside in where[number + 1 :]:
                if place.is_relative_to(beside) or beside.is_relative_to(place):
                    raise Unsupported(
                        f"cannot restore into '{folder}' and '{other}': one is inside the other",
                        hint="?tablespaces=DIRECTORY names a folder outside of the data directory",
                    )

    def prepare(self) -> None:
        """Make the folders, and the links to the tablespaces; the caller must sync.

        Raises `OSError`, and `VerifyFailed` for a tablespace whose name is no OID.
        """
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
        """Make a folder and those above it; an existing one gets its `mode` now.

        A folder may exist without its mode, because a file in it was restored first.
        """
        root, name = self._rooted(path)
        if path not in self._made:
            root.make_folders(name, mode=self._folder_mode)
            self._made.add(path)
        if mode and name:
            root.set_folder_mode(name, mode & _MOST | _LEAST_OF_FOLDERS)

    def create(self, path: str, *, is_piece: bool = False, mode: int = 0) -> int:
        """Open the new file `path` for writing; returns a descriptor that the caller closes.

        With `is_piece` the file may exist, and other workers may write to it. Raises `OSError`.
        """
        above = path.rpartition("/")[0]
        if above:
            self.make_folder(above)
        root, name = self._rooted(path)
        if is_piece:
            return root.extend(name, mode=self.rights(mode))
        return root.create(name, mode=self.rights(mode))

    def rights(self, mode: int) -> int:
        """The mode of a file that had `mode` in the backup, 0 if that does not say."""
        otherwise = GROUP_FILE_MODE if self.is_for_group else FILE_MODE
        return mode & _MOST | _LEAST_OF_FILES if mode else otherwise

    def opened(self, path: str) -> int:
        """A descriptor of the folder `path`, made if it is missing; the caller closes it."""
        if path:
            self.make_folder(path)
        root, name = self._rooted(path)
        return root.open_folder(name)

    def _rooted(self, path: str) -> tuple[Beneath, str]:
        """The root folder for the backup's `path`, and the path below it.

        Files of a tablespace are written below its own folder, never through the link to it.
        """
        first, _, rest = path.partition("/")
        oid, _, inside = rest.partition("/")
        if first == LINKS and oid in self.spaces:
            return Beneath(self.spaces[oid]), inside
        return Beneath(self.data), path


class OpenFolder:
    """Creates files, and keeps the folder of the last one open: most files of a pack share it.

    The way to a folder is one step of the kernel for each segment, for every file.
    """

    def __init__(self, folders: RestoreFolders) -> None:
        self._folders = folders
        self._path: str | None = None
        self._descriptor = _NONE

    def close(self) -> None:
        if self._descriptor != _NONE:
            descriptor, self._descriptor = self._descriptor, _NONE
            os.close(descriptor)

    def create(self, path: str, *, mode: int) -> int:
        """Open the new file `path` for writing, as `RestoreFolders.create` does."""
        above, slash, name = path.rpartition("/")
        if slash and not above:
            raise NotBeneath(errno.EINVAL, "it is not a plain relative name", path)
        if above != self._path or self._descriptor == _NONE:
            self.close()
            self._descriptor = self._folders.opened(above)
            self._path = above
        return create_in(self._descriptor, name, mode=self._folders.rights(mode))


def require_empty(folders: Iterable[Path]) -> list[bool]:
    """Whether each folder exists; raises `TargetNotEmpty` if one contains anything."""
    return [_require_empty(folder) for folder in folders]


def _require_empty(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            if next(entries, None) is not None:
                raise TargetNotEmpty(
                    f"cannot restore into '{folder}': it contains files",
                    hint="name an empty folder: a cluster is never overwritten",
                )
    except FileNotFoundError:
        return False
    except OSError as error:
        raise restore_failed(folder, error) from error
    return True


def empty(folder: Path, *, remove: bool) -> None:
    """Empty the folder of a failed restore, and with `remove` delete it; ignores `OSError`."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink()
        if remove:
            folder.rmdir()


def restore_failed(path: Path, error: Exception) -> RestoreFailed:
    """The error for a file or folder that could not be restored, with its remedy."""
    if isinstance(error, NotBeneath):
        return RestoreFailed(f"cannot restore '{path}': {error.strerror}", hint=_NOT_OURS)
    cause = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
    return RestoreFailed(
        f"cannot restore '{path}': {cause}", hint="check the free space and the owner of the folder"
    )
