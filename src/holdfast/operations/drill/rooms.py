"""The private folders in which throw-away servers live, and the removal of what a dead drill left.

Each drill has one room, `FOLDER/JOB/HOST-TOKEN`, and, where that path is too long for a socket, a
second folder below /tmp of the same name. Several hosts may share FOLDER: each removes its own
rooms only, and none that a drill still holds. A room with the file `kept` stays until its operator
removes it.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import field
from pathlib import Path

from holdfast.model.backup import JOB_NAME
from holdfast.model.errors import ConfigInvalid, DrillFailed, RepositoryFull
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.units import size
from holdfast.operations.drill.room_folders import (
    begin_room,
    fill_room,
    held,
    server_of,
    this_host,
)
from holdfast.ports.drill import DrillRoom
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.files import new_file
from holdfast.runtime.kernel import disk_error
from holdfast.runtime.processes_below import end_processes_below, memory_below

KEPT = "kept"
TOKEN_BYTES = 4
# A sweep takes a new room only in the moment before it is held.
ATTEMPTS = 10
# Nothing else is a room: the folder may hold what others put there, and a sweep removes for good.
_ROOM = re.compile(rf"(?P<host>[0-9a-f]{{8}})-[0-9a-f]{{{2 * TOKEN_BYTES}}}")
SOCKETS_PREFIX = "holdfast-drill-"
SOCKETS_BELOW = Path("/tmp")  # noqa: S108 - a private folder in it, whose path is short
# sun_path has 108 bytes, and the longest name of a socket below a room has 20.
LONGEST_FOLDER_BYTES = 86
# What shows that a folder is the data directory of a server, or lies in one.
DATA_DIRECTORY_FILES = ("PG_VERSION", "ibdata1", "postmaster.pid", "aria_log_control")
# Beyond the rows: indexes, the log of the load, and the server itself.
ROOM_FACTOR, ROOM_BYTES = 1.5, 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The rooms of one job below `folder`; `apart` are folders that no room may lie in.

    `hidden` is what no server in a room may see. `host` names this one in the names of its rooms.
    """

    folder: Path
    job: str
    memory_bytes: int = 0
    apart: Sequence[Path] = ()
    hidden: Sequence[Path] = ()
    host: str = field(default_factory=this_host)

    def sweep(self) -> int:
        """Remove the rooms that dead drills of this host left, their processes first.

        Returns their number. The caller must hold the job's drill lock. Nothing is removed where no
        room may lie: `made` says why.
        """
        if self._misplaced():
            return 0
        return sum(self._swept(room) for room in self._rooms())

    def _swept(self, room: Path) -> bool:
        """Remove the room, unless it was kept, or a drill of another state directory holds it."""
        with _removing(room), held(room) as is_dead:
            is_dead = is_dead and not (room / KEPT).exists()
            if is_dead:
                events.warning("drill_leftover_removed", folder=str(room))
                self._remove(room)
            return is_dead

    @contextmanager
    def made(self, *, user: str = "") -> Iterator[DrillRoom]:
        """A new room, which is removed after the block unless it was kept.

        `user` runs the server, empty for the user of this process.
        Raises `ConfigInvalid` if the folder is no place for it.
        """
        self.require_apart()
        with ExitStack() as holding:
            room = self._begun(user, holding)
            with _told(Path(room.folder)):
                fill_room(room)
            events.reached("drill-room-made")
            yield room

    def _begun(self, user: str, holding: ExitStack) -> DrillRoom:
        """A new room with nothing in it, held and removed by `holding`.

        A drill of another state directory may sweep a room that is made and not yet held.
        """
        for _ in range(ATTEMPTS):
            room = self._room(user)
            place = Path(room.folder)
            with _told(place):
                begin_room(room)
                is_ours = holding.enter_context(held(place))
            if is_ours:
                holding.enter_context(afterwards(self._leave, place))
                return room
        raise DrillFailed(
            f"cannot drill in folder '{self.folder}': other drills remove each new room",
            hint="find who removes them: fuser -v names the processes that hold a folder",
        )

    def _room(self, user: str) -> DrillRoom:
        place = self._of_job / f"{self.host}-{secrets.token_hex(TOKEN_BYTES)}"
        is_short = len(os.fsencode(place)) <= LONGEST_FOLDER_BYTES
        return DrillRoom(
            folder=str(place),
            sockets=str(place if is_short else _sockets_of(place)),
            user=user,
            memory_bytes=self.memory_bytes,
            hidden=tuple(map(str, self.hidden)),
        )

    def keep(self, room: DrillRoom) -> None:
        """Have the room stay after its drill."""
        new_file(Path(room.folder) / KEPT, b"")

    def memory(self, room: DrillRoom) -> int:
        """The bytes of memory that the processes of the room use."""
        place = Path(room.folder)
        return memory_below(place, user=server_of(place))

    def require_apart(self) -> None:
        """Raise `ConfigInvalid` if a room would lie in a server's data, a repository, or a link."""
        if cause := self._misplaced():
            raise ConfigInvalid(
                f"cannot drill in folder '{self.folder}': {cause}",
                hint="name a folder of its own in drill.folder",
            )

    def _misplaced(self) -> str:
        """Why no room may lie here; empty if one may."""
        if not JOB_NAME.fullmatch(self.job):
            return f"'{self.job}' is no name of a job"
        if self.folder.is_symlink():
            return "it is a link"
        # A folder above may be a link, and a job may be called as a server's folder is.
        of_job = self._of_job.resolve()
        for each in (of_job, *of_job.parents):
            if any((each / name).exists() for name in DATA_DIRECTORY_FILES):
                return f"'{each}' is the data directory of a server"
        for each in self.apart:
            if of_job.is_relative_to(each.resolve()):
                return f"'{each}' holds backups"
        return ""

    def require_space(self, plain_bytes: int) -> None:
        """Raise `RepositoryFull` unless a restore of that size fits on the disk of the rooms."""
        needed = round(plain_bytes * ROOM_FACTOR) + ROOM_BYTES
        free = shutil.disk_usage(_existing(self.folder)).free
        if free < needed:
            raise RepositoryFull(
                f"cannot drill in folder '{self.folder}': {size(free)} are free, about"
                f" {size(needed)} are needed",
                hint="free some room there, or name a larger disk in drill.folder",
            )

    @property
    def _of_job(self) -> Path:
        return self.folder / self.job

    def _rooms(self) -> list[Path]:
        try:
            return [
                each
                for each in self._of_job.iterdir()
                if self._is_ours(each.name) and not each.is_symlink() and each.is_dir()
            ]
        except FileNotFoundError:
            return []

    def _is_ours(self, name: str) -> bool:
        found = _ROOM.fullmatch(name)
        return found is not None and found["host"] == self.host

    def _leave(self, room: Path) -> None:
        if (room / KEPT).exists():
            events.warning("drill_kept", folder=str(room))
        elif room.is_dir():
            self._remove(room)

    def _remove(self, room: Path) -> None:
        """End the processes of the room, and remove it: last, as its name finds them again."""
        with _removing(room):
            end_processes_below(room, user=server_of(room))
            sockets = _sockets_of(room)
            if not sockets.is_symlink() and sockets.is_dir():
                end_processes_below(sockets, user=server_of(room))
                if sockets.stat().st_uid == room.stat().st_uid:
                    shutil.rmtree(sockets)
            events.reached("drill-room-emptied")
            shutil.rmtree(room)


@contextmanager
def _removing(room: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise DrillFailed(
            f"cannot remove what a drill left in '{room}': {error}",
            hint="end its processes and remove the folder by hand",
        ) from error


def _sockets_of(room: Path) -> Path:
    return SOCKETS_BELOW / f"{SOCKETS_PREFIX}{room.name}"


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.is_dir())


@contextmanager
def _told(place: Path) -> Iterator[None]:
    """Translates errors of the disk on which rooms are made."""
    try:
        yield
    except OSError as error:
        what = f"cannot drill in folder '{place}'"
        raise disk_error(error, what) or ConfigInvalid(
            f"{what}: {os.strerror(error.errno or 0)}",
            hint="name a folder that the user of the drill can write to in drill.folder",
        ) from error
