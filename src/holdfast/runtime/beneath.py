"""Files beneath one folder, safe against names and symbolic links that others put there.

A path is opened segment by segment, each relative to the folder that is already open, and no
symbolic link is followed. No segment is `..`, so nothing outside can be reached, even if another
process replaces folders with links during the walk. `openat2` promises the same with
RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, but not on every kernel and in every sandbox.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.model.lazy_dataclass import dataclass, field
from holdfast.runtime.cleanup import afterwards, on_failure

FOLDER_MODE = 0o700
FILE_MODE = 0o600
# A folder on the path needs search permission only, not read permission.
_PASS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Without O_NONBLOCK, opening a named pipe that has no writer would block for ever.
_READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_EXTEND = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NotBeneath(OSError):
    """A name that may lead out of the folder, also by a link or a special file; nothing changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The owner of new files and folders."""

    user: int
    group: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A name in a folder; `size_bytes` is the size of a regular file, None for anything else.

    `changed_ns` is the time of its last change, which nobody can set: rename and write count too.
    """

    name: str
    is_folder: bool
    size_bytes: int | None
    changed_ns: int = field(default=0, compare=False)


class Beneath:
    """The files below the folder `root`; the path to `root` itself may contain links.

    Names are relative, with segments separated by `/`; the empty name is the root itself. Each
    method raises `OSError`, and `NotBeneath` if a segment of a name is empty, `.` or `..`, or if a
    symbolic link is on the path. New files and folders get exactly the given mode, whatever the
    umask.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def folder(self, name: str) -> Iterator[int]:
        """A descriptor of the folder `name`, to be the `dir_fd` of calls with a single segment."""
        descriptor = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # Closes the descriptor that is open at that time: the loop replaces it.
        with afterwards(lambda: os.close(descriptor)):
            for segment in _segments(name):
                inner = _pass(descriptor, segment, name)
                os.close(descriptor)
                descriptor = inner
            yield descriptor

    @contextmanager
    def _holding(self, name: str) -> Iterator[tuple[int, str]]:
        """The descriptor of the folder that contains `name`, and the last segment."""
        above, last = _parted(name)
        with self.folder(above) as descriptor:
            yield descriptor, last

    def make_folders(
        self, name: str, *, mode: int = FOLDER_MODE, owner: Owner | None = None
    ) -> None:
        """Create the folder `name` and its missing parents; each is synced to the disk."""
        above = ""
        for segment in _segments(name):
            with self.folder(above) as descriptor:
                if not _is_there(descriptor, segment):
                    _make_folder(descriptor, segment, mode=mode, owner=owner)
            above = f"{above}/{segment}".lstrip("/")

    def set_folder_mode(self, name: str, mode: int) -> None:
        """Set the mode of an existing folder."""
        with self._read_folder(name) as descriptor:
            os.fchmod(descriptor, mode)

    def create(self, name: str, *, mode: int = FILE_MODE, owner: Owner | None = None) -> int:
        """A descriptor to write the new file `name`; raises `FileExistsError` if it exists."""
        with self._holding(name) as (folder, last):
            return create_in(folder, last, mode=mode, owner=owner)

    def open_folder(self, name: str) -> int:
        """A descriptor of the folder `name` for `create_in`, which the caller closes."""
        with self.folder(name) as descriptor:
            return os.dup(descriptor)

    def extend(self, name: str, *, mode: int = FILE_MODE) -> int:
        """A descriptor to write to the regular file `name`, which is created if it is missing."""
        with self._holding(name) as (folder, last):
            descriptor = os.open(last, _EXTEND, mode, dir_fd=folder)
        with on_failure(os.close, descriptor):
            _require_regular(os.fstat(descriptor), name)
            _settle(descriptor, mode=mode, owner=None)
        return descriptor

    def open(self, name: str) -> int:
        """A descriptor to read the regular file `name`; any other kind of file is never opened."""
        with self._holding(name) as (folder, last):
            found = os.stat(last, dir_fd=folder, follow_symlinks=False)
            _require_regular(found, name)
            descriptor = os.open(last, _READ_FILE, dir_fd=folder)
        with on_failure(os.close, descriptor):
            _require_regular(os.fstat(descriptor), name)
        return descriptor

    def stat(self, name: str) -> os.stat_result:
        """The status of `name` itself; a link is not followed."""
        if not name:
            return self.root.stat()
        with self._holding(name) as (folder, last):
            return os.stat(last, dir_fd=folder, follow_symlinks=False)

    def entries(self, name: str) -> list[Entry]:
        """The entries of the folder `name`, in no order; links are not followed."""
        with self._read_folder(name) as descriptor, os.scandir(descriptor) as found:
            return [entry for each in found if (entry := _entry(each)) is not None]

    def sync(self, name: str) -> None:
        """Sync the folder `name`, so that the names in it survive a power cut."""
        with self._read_folder(name) as descriptor:
            os.fsync(descriptor)

    @contextmanager
    def _read_folder(self, name: str) -> Iterator[int]:
        with self.folder(name) as passed:
            descriptor = os.open(".", _READ_FOLDER, dir_fd=passed)
        with afterwards(os.close, descriptor):
            yield descriptor

    def link(self, name: str, new: str) -> None:
        """Give the file `name` a second name; an existing name is never replaced."""
        with self._holding(name) as (here, last), self._holding(new) as (there, new_last):
            os.link(last, new_last, src_dir_fd=here, dst_dir_fd=there, follow_symlinks=False)

    def rename(self, name: str, new: str) -> None:
        """Rename `name` to `new`, which is replaced if it exists; a link itself, not its target."""
        with self._holding(name) as (here, last), self._holding(new) as (there, new_last):
            os.rename(last, new_last, src_dir_fd=here, dst_dir_fd=there)

    def symlink(self, target: str, name: str) -> None:
        """Create a symbolic link named `name`; the caller must check its target."""
        with self._holding(name) as (folder, last):
            os.symlink(target, last, dir_fd=folder)

    def unlink(self, name: str) -> None:
        """Remove the file `name`; a link itself, never its target."""
        with self._holding(name) as (folder, last):
            os.unlink(last, dir_fd=folder)

    def remove_folder(self, name: str) -> None:
        """Remove the empty folder `name`."""
        with self._holding(name) as (folder, last):
            os.rmdir(last, dir_fd=folder)


def create_in(folder: int, name: str, *, mode: int, owner: Owner | None = None) -> int:
    """As `Beneath.create`, of a file whose folder is open already: `name` is a single segment."""
    if _segments(name) != [name]:
        raise NotBeneath(errno.EINVAL, "it is not a name in a folder", name)
    descriptor = os.open(name, _CREATE, mode, dir_fd=folder)
    with on_failure(os.close, descriptor):
        _settle(descriptor, mode=mode, owner=owner)
    return descriptor


def _segments(name: str) -> list[str]:
    segments = name.split("/") if name else []
    if any(segment in ("", ".", "..") or "\0" in segment for segment in segments):
        raise NotBeneath(errno.EINVAL, "it is not a plain relative name", name)
    return segments


def _parted(name: str) -> tuple[str, str]:
    segments = _segments(name)
    if not segments:
        raise NotBeneath(errno.EINVAL, "it names the folder itself", name)
    return "/".join(segments[:-1]), segments[-1]


def _pass(descriptor: int, segment: str, name: str) -> int:
    try:
        return os.open(segment, _PASS, dir_fd=descriptor)
    except NotADirectoryError:
        found = os.stat(segment, dir_fd=descriptor, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            raise _link_in_the_way(segment, name) from None
        raise


def _link_in_the_way(segment: str, name: str) -> NotBeneath:
    cause = f"'{segment}' is a symbolic link, which is not followed here"
    return NotBeneath(errno.ELOOP, cause, name)


def _require_regular(found: os.stat_result, name: str) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise _link_in_the_way(name.rpartition("/")[2], name)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    if not stat.S_ISREG(found.st_mode):
        raise NotBeneath(errno.EINVAL, "it is a pipe, a socket or a device, not a file", name)


def _is_there(descriptor: int, segment: str) -> bool:
    """Whether the name exists, as any kind of file; the next open fails if it is not a folder."""
    try:
        os.stat(segment, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _make_folder(descriptor: int, segment: str, *, mode: int, owner: Owner | None) -> None:
    try:
        os.mkdir(segment, mode, dir_fd=descriptor)
    except FileExistsError:  # another process created it first
        return
    made = os.open(segment, _READ_FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
    with afterwards(os.close, made):
        _settle(made, mode=mode, owner=owner)
    above = os.open(".", _READ_FOLDER, dir_fd=descriptor)
    with afterwards(os.close, above):
        os.fsync(above)


def _settle(descriptor: int, *, mode: int, owner: Owner | None) -> None:
    if owner is not None:
        os.fchown(descriptor, owner.user, owner.group)
    # After the owner: a change of owner clears the set-user bits.
    os.fchmod(descriptor, mode)


def _entry(found: os.DirEntry[str]) -> Entry | None:
    """None if the entry disappeared before its status was read."""
    if found.is_dir(follow_symlinks=False):
        return Entry(name=found.name, is_folder=True, size_bytes=None)
    try:
        looked = found.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    size_bytes = looked.st_size if stat.S_ISREG(looked.st_mode) else None
    return Entry(
        name=found.name, is_folder=False, size_bytes=size_bytes, changed_ns=looked.st_ctime_ns
    )
