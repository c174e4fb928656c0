"""The folders of one drill's room: those of holdfast, and in them the two of its server.

Root must not write where the server's user may: that user could put a link in the way. So the room
itself is root's, and the server's user may only pass it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

from holdfast.ports.drill import DrillRoom
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.files import PASSABLE_FOLDER, PRIVATE_FOLDER, make_folder
from holdfast.runtime.isolation import user_named
from holdfast.runtime.process import User

# The group of the server's user may pass the room, and see nothing of it.
_PASSED_BY_GROUP = 0o710
_MACHINE = Path("/etc/machine-id")
_HOST_BYTES = 4


def this_host() -> str:
    """What tells this host from others that share its folder of rooms."""
    machine = b""
    with suppress(OSError):
        machine = _MACHINE.read_bytes().strip()
    told = b"%s %s" % (socket.gethostname().encode(), machine)
    return blake2b(told, digest_size=_HOST_BYTES).hexdigest()


def begin_room(room: DrillRoom) -> None:
    """Make the folder of the room alone, to be held before more is made.

    Raises `FileExistsError` if it is there.
    """
    _make(Path(room.folder), _another(room.user))


def fill_room(room: DrillRoom) -> None:
    """Make all other folders of the room; raises `FileExistsError` if its second one is there."""
    user = _another(room.user)
    if room.sockets != room.folder:
        _make(Path(room.sockets), user)
    for each in dict.fromkeys((room.home, room.listening)):
        make_folder(Path(each))
        if user is not None:
            os.chown(each, user.user, user.group, follow_symlinks=False)


def _another(name: str) -> User | None:
    """The user who runs the server, if that is not the user of this process."""
    user = user_named(name)
    return user if os.geteuid() == 0 else None


def _make(place: Path, user: User | None) -> None:
    # The server's user must get through to its room.
    above = PRIVATE_FOLDER if user is None else PASSABLE_FOLDER
    if not make_folder(place, above=above):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(place))
    if user is not None:
        os.chown(place, -1, user.group, follow_symlinks=False)
        place.chmod(_PASSED_BY_GROUP)


def server_of(room: Path) -> int:
    """The number of the user who runs the server of the room, however little of it was made."""
    try:
        return (room / "home").stat(follow_symlinks=False).st_uid
    except FileNotFoundError:
        return room.stat().st_uid


@contextmanager
def held(room: Path) -> Iterator[bool]:
    """Hold the room while the block runs; whether nobody else holds it, and it is still there.

    The kernel lets go when the process that holds it ends, however it ends. A network file system
    may refuse locks of folders: then only the name of the host tells whose a room is.
    """
    try:
        descriptor = os.open(room, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    with afterwards(os.close, descriptor):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            if error.errno not in (errno.EBADF, errno.ENOLCK, errno.EINVAL, errno.EOPNOTSUPP):
                raise
        # The last holder may have removed it after we opened it.
        yield _is_at(room, descriptor)


def _is_at(room: Path, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.lstat(room), os.fstat(descriptor))
    return False
