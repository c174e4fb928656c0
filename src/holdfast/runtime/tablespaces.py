"""Make WAL that creates tablespaces safe to replay.

A server that replays such WAL links to the original folder, even if that folder now belongs to
another server. Each segment is examined before its replay, and changed or refused.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from holdfast.model.errors import HoldfastError, RestoreFailed, TargetNotEmpty
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.wal import HEADER_BYTES, SegmentHeader
from holdfast.model.wal_records import Segment, TablespaceMade
from holdfast.runtime.beneath import Beneath, Owner
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.files import PASSABLE_FOLDER, PRIVATE_FOLDER, make_folder

LINKS, CONTROL_FILE = "pg_tblspc", "global/pg_control"
_LONGEST_VERSION = 16
# The catalog version in pg_control, after the system identifier and the control file's version.
_CATALOG_VERSION = slice(12, 16)


class WhenInUse(StrEnum):
    """What to do about WAL that creates a tablespace in a folder that is in use.

    `REFUSE` gives the segment to no server. `END` cuts it before that record, which is enough for
    a recovery target that lies before it.
    """

    REFUSE = "refuse"
    END = "end-before"


def is_in_use(location: str) -> bool:
    """Whether the folder holds anything, or cannot be examined: then assume that it is in use."""
    try:
        with os.scandir(location) as entries:
            return next(entries, None) is not None
    except FileNotFoundError:
        return False
    except OSError:
        # Not a folder, or one that we may not read.
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTablespaces:
    """The tablespaces that replayed WAL creates in the server with the data directory `data`.

    Each goes to `below/OID`, if `below` is given. Otherwise it goes to the location in the WAL,
    unless that is in use. With `owner`, root makes them for that user, who owns `data` and must
    not own `below`.
    """

    data: Path
    below: Path | None = None
    otherwise: WhenInUse = WhenInUse.REFUSE
    owner: Owner | None = None

    def admit(self, path: Path, following: Callable[[], bytes]) -> list[int]:
        """Make the segment at `path` safe to replay; the OIDs of the tablespaces to move.

        The caller must create each of these with `make` before the replay. `following` is called
        for the start of the next segment if a record continues there. Raises `TargetNotEmpty` if
        the WAL would create a tablespace in a folder that is in use, and `RestoreFailed`; the
        segment must not be replayed then.
        """
        brought: list[int] = []
        with segment_at(path, following) as segment:
            for found in list(segment.tablespaces()):
                if self._is_to_be_brought(found.made):
                    _write(path, segment.without(found), found.made)
                    brought.append(found.made.oid)
                elif self._is_refused(found.made):
                    if self.otherwise is WhenInUse.REFUSE:
                        raise in_use(found.made)
                    _write(path, segment.ended_before(found), found.made)
        return brought

    def make(self, oid: int) -> Path:
        """Create the folder of a moved tablespace, its version folder and the link; the folder.

        An existing link is kept. Raises `TargetNotEmpty`, `RestoreFailed`.
        """
        link = self.data / LINKS / str(oid)
        folder = self.below / str(oid) if self.below else link
        try:
            if link.is_symlink():
                return link.readlink()
            if is_in_use(str(folder)):
                raise TargetNotEmpty(
                    f"cannot restore tablespace {oid} to '{folder}': it contains files",
                    hint="with ?tablespaces=DIRECTORY, name a folder that is empty or does not"
                    " exist",
                )
            self._make(oid, folder)
        except OSError as error:
            raise RestoreFailed(
                f"cannot create tablespace {oid} in '{folder}': {os.strerror(error.errno or 0)}",
                hint="check the free space, and that the server's user owns the folder",
            ) from error
        return folder

    def _make(self, oid: int, folder: Path) -> None:
        """Make the folder of the tablespace, its version folder, and the link to it."""
        if self.owner is not None:
            self._make_for(self.owner, oid, folder)
            return
        with (self.data / CONTROL_FILE).open("rb") as control:
            version = _version_folder((self.data / "PG_VERSION").read_bytes(), control)
        make_folder(folder / version, above=PRIVATE_FOLDER)
        link = self.data / LINKS / str(oid)
        make_folder(link.parent)
        link.symlink_to(folder)

    def _make_for(self, owner: Owner, oid: int, folder: Path) -> None:
        """The same for another user, who may have put links and pipes into `data` by now."""
        data = Beneath(self.data)
        with (
            os.fdopen(data.open("PG_VERSION"), "rb") as major,
            os.fdopen(data.open(CONTROL_FILE), "rb") as control,
        ):
            version = _version_folder(major.read(_LONGEST_VERSION), control)
        make_folder(folder.parent, mode=PASSABLE_FOLDER, above=PASSABLE_FOLDER)
        Beneath(folder.parent).make_folders(f"{folder.name}/{version}", owner=owner)
        data.make_folders(LINKS, owner=owner)
        data.symlink(str(folder), f"{LINKS}/{oid}")
        with data.folder(LINKS) as links:
            os.chown(str(oid), owner.user, owner.group, dir_fd=links, follow_symlinks=False)

    def _is_to_be_brought(self, made: TablespaceMade) -> bool:
        """Whether to keep it out of the WAL's location, as `below` or an existing link demands.

        A tablespace of the backup may already link to another folder, and stays there.
        """
        # A tablespace inside the data directory has no location of its own.
        if not made.location:
            return False
        link = self._link(made)
        return link != made.location if link else self.below is not None

    def _is_refused(self, made: TablespaceMade) -> bool:
        """Whether to refuse it; not after an earlier replay, as the server itself uses it then."""
        return bool(made.location) and not self._link(made) and is_in_use(made.location)

    def _link(self, made: TablespaceMade) -> str:
        with suppress(OSError):
            return str((self.data / LINKS / str(made.oid)).readlink())
        return ""


def in_use(made: TablespaceMade) -> HoldfastError:
    """The error for WAL that creates a tablespace in a folder in use; the hint names ways out."""
    return TargetNotEmpty(
        f"cannot replay WAL from {made.at} on: it creates tablespace {made.oid} in"
        f" '{made.location}', and that folder is in use on this host",
        hint=f"place it in /ANOTHER/{made.oid} with restore --to"
        " 'file:///FOLDER?tablespaces=/ANOTHER', or recover to a point before it:"
        f" --target-lsn {made.after}",
    )


@contextmanager
def segment_at(path: Path, following: Callable[[], bytes] = lambda: b"") -> Iterator[Segment]:
    """The segment in the file at `path`; it is empty if the file is not a WAL segment."""
    with path.open("rb") as file:
        header = SegmentHeader.parse(file.read(HEADER_BYTES))
        if header is None:
            yield Segment(b"", address=0)
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            segment = Segment(memoryview(content), address=header.address)
            with afterwards(segment.release):
                if segment.is_cut:
                    segment.follow(following())
                yield segment


def _write(path: Path, changes: list[tuple[int, bytes]] | None, made: TablespaceMade) -> None:
    """Apply `changes` to the file; raises `RestoreFailed` if one segment cannot hold them."""
    if changes is None:
        raise RestoreFailed(
            f"cannot replay WAL from {made.at} on: a record that creates tablespace {made.oid} in"
            f" '{made.location}' begins at the end of its segment",
            hint=f"recover to a point before it (--target-lsn {made.after}), or on another host",
        )
    with path.open("r+b", buffering=0) as file:
        for offset, content in changes:
            os.pwrite(file.fileno(), content, offset)
        os.fsync(file.fileno())


def _version_folder(version: bytes, control: BinaryIO) -> str:
    """The name of this release's folder inside a tablespace, such as `PG_17_202406281`.

    `version` is the content of `PG_VERSION`.
    """
    catalog = int.from_bytes(control.read(_CATALOG_VERSION.stop)[_CATALOG_VERSION], "little")
    return f"PG_{version.decode(errors='replace').strip()}_{catalog}"
