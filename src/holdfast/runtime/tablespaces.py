"""Tablespaces that WAL makes while it is replayed: a server links to where each was, whoever has
that folder now. What is about to be replayed is looked at, and made safe or refused.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from holdfast.model.errors import HoldfastError, RestoreFailed, TargetNotEmpty
from holdfast.model.wal import HEADER_BYTES, SegmentHeader
from holdfast.model.wal_records import Segment, TablespaceMade
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.files import PRIVATE_FOLDER, make_folder

LINKS = "pg_tblspc"
# In pg_control, behind the system identifier and its own version.
_CATALOG_VERSION = slice(12, 16)


class WhenInUse(StrEnum):
    """What becomes of WAL that makes a tablespace in a folder that is in use: it is not handed to
    the server, or only what comes before that, which is enough for a target that comes before."""

    REFUSE = "refuse"
    END = "end-before"


def is_in_use(location: str) -> bool:
    """Whether a server that links there would find what is somebody's."""
    try:
        with os.scandir(location) as entries:
            return next(entries, None) is not None
    except FileNotFoundError:
        return False
    except OSError:
        # No folder, or none that we may look into.
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTablespaces:
    """Of a server whose data directory is `data`: each new one goes to `below/OID`, where that is
    named, else to where the WAL says, unless it is in use."""

    data: Path
    below: Path | None = None
    otherwise: WhenInUse = WhenInUse.REFUSE

    def admit(self, path: Path, following: Callable[[], bytes]) -> list[int]:
        """Make the segment at `path` safe to be replayed; the OIDs of those that `make` is to make
        somewhere else before that.

        `following` is asked for the beginning of the next segment where a record goes on in it.
        Raises `TargetNotEmpty` where it would be replayed into a folder that is in use, and
        `RestoreFailed`; the file is then not to be replayed.
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
        """The folder of a tablespace that was brought, with the one of this release in it, and the
        link to it; raises `TargetNotEmpty`, `RestoreFailed`."""
        link = self.data / LINKS / str(oid)
        folder = self.below / str(oid) if self.below else link
        try:
            if link.is_symlink():
                return link.readlink()
            if is_in_use(str(folder)):
                raise TargetNotEmpty(
                    f"cannot bring tablespace {oid} to '{folder}': it contains files",
                    hint="?tablespaces=DIRECTORY names a folder that is empty, or not there",
                )
            make_folder(folder / _version_folder(self.data), above=PRIVATE_FOLDER)
            make_folder(link.parent)
            link.symlink_to(folder)
        except OSError as error:
            raise RestoreFailed(
                f"cannot make tablespace {oid} in '{folder}': {os.strerror(error.errno or 0)}",
                hint="is there room, and is the folder the server's own?",
            ) from error
        return folder

    def _is_to_be_brought(self, made: TablespaceMade) -> bool:
        """Where it has another folder already, as those of the backup have, it stays there."""
        # One inside of the data directory has no place of its own.
        if not made.location:
            return False
        link = self._link(made)
        return link != made.location if link else self.below is not None

    def _is_refused(self, made: TablespaceMade) -> bool:
        """Not where an earlier attempt has replayed it: then the server itself has it in use."""
        return bool(made.location) and not self._link(made) and is_in_use(made.location)

    def _link(self, made: TablespaceMade) -> str:
        with suppress(OSError):
            return str((self.data / LINKS / str(made.oid)).readlink())
        return ""


def in_use(made: TablespaceMade) -> HoldfastError:
    """Why WAL that makes a tablespace is not replayed, and what brings it somewhere else."""
    return TargetNotEmpty(
        f"cannot replay WAL from {made.at} on: it makes tablespace {made.oid} in"
        f" '{made.location}', and that folder is in use on this host",
        hint=f"restore --to 'file:///FOLDER?tablespaces=/ANOTHER' has it in /ANOTHER/{made.oid}"
        f" instead; or recover to a point before it: --target-lsn {made.after}",
    )


@contextmanager
def segment_at(path: Path, following: Callable[[], bytes] = lambda: b"") -> Iterator[Segment]:
    """The segment in the file at `path`; nothing is in one that is none."""
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
    """Raises `RestoreFailed` where it cannot be changed in one segment."""
    if changes is None:
        raise RestoreFailed(
            f"cannot replay WAL from {made.at} on: a record that makes tablespace {made.oid} in"
            f" '{made.location}' begins where its segment ends",
            hint=f"recover to a point before it (--target-lsn {made.after}), or on another host",
        )
    with path.open("r+b", buffering=0) as file:
        for offset, content in changes:
            os.pwrite(file.fileno(), content, offset)
        os.fsync(file.fileno())


def _version_folder(data: Path) -> str:
    """What a server of this release calls its part of a tablespace."""
    major = (data / "PG_VERSION").read_text().strip()
    with (data / "global/pg_control").open("rb") as file:
        catalog = int.from_bytes(file.read(_CATALOG_VERSION.stop)[_CATALOG_VERSION], "little")
    return f"PG_{major}_{catalog}"
