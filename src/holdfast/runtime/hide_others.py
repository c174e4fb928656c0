"""A program that hides other servers from itself, then becomes another program.

`python -I hide_others.py MODE OWN... -- PLACE... -- PROGRAM ARGUMENT...`, in a mount namespace of
its own, with the right to mount there. A folder is covered by an empty one, a socket or a file by
/dev/null. Folders of OWN stay where they are, also in a covered one. In the mode `confined` all
that is not in them can only be read. The program gets no right that its user has not. It imports
nothing of holdfast, so it starts at once.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from pathlib import Path

MS_BIND, MS_REC = 4096, 16384
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
# The number is the same on every processor; the C library has the call only since 2.36.
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE = 442, -100, 0x8000
MOUNT_ATTR_RDONLY = 1
CONFINED = "confined"


class Attributes(ctypes.Structure):
    """`struct mount_attr` of mount_setattr(2)."""

    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")
    )


def main(arguments: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    own, rest = _parted(arguments[1:])
    places, program = _parted(rest)
    # By descriptor: what covers the folder above must not take them away.
    kept = {each: os.open(each, os.O_PATH | os.O_DIRECTORY) for each in own if each.is_dir()}
    for each in places:
        _hide(libc, each, kept)
    if arguments[0] == CONFINED:
        for each in own:
            _require(libc.mount(bytes(each), bytes(each), None, MS_BIND | MS_REC, None))
        _set(libc, Path("/"), Attributes(attr_set=MOUNT_ATTR_RDONLY))
        for each in own:
            _set(libc, each, Attributes(attr_clr=MOUNT_ATTR_RDONLY))
    _leave_what_is_covered()
    _require(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    os.execvp(program[0], [str(each) for each in program])  # noqa: S606 - its one purpose


def _leave_what_is_covered() -> None:
    """Where it worked until now is the folder below the mounts, whose files it would still see."""
    try:
        os.chdir(Path.cwd())
    except OSError:
        os.chdir("/")


def _parted(arguments: list[str]) -> tuple[list[Path], list[str]]:
    end = arguments.index("--")
    return [Path(each) for each in arguments[:end]], arguments[end + 1 :]


def _hide(libc: ctypes.CDLL, place: Path, kept: dict[Path, int]) -> None:
    # What is gone by now needs no cover, and neither does what this user cannot get to. A user
    # who put a link in the place of a socket would choose what is covered.
    try:
        kind = place.lstat().st_mode
    except OSError:
        return
    if stat.S_ISDIR(kind):
        _require(libc.mount(b"none", bytes(place), b"tmpfs", 0, None))
        for each, descriptor in kept.items():
            if each.is_relative_to(place):
                _make(each)
                source = b"/proc/self/fd/%d" % descriptor
                _require(libc.mount(source, bytes(each), None, MS_BIND | MS_REC, None))
    elif stat.S_ISSOCK(kind) or stat.S_ISREG(kind):
        _require(libc.mount(b"/dev/null", bytes(place), None, MS_BIND, None))


def _make(folder: Path) -> None:
    """Make the folder in an empty one of this process's own, which nobody else sees."""
    for each in (*reversed(folder.parents), folder):
        if not each.is_dir():
            each.mkdir(mode=0o700)


def _set(libc: ctypes.CDLL, place: Path, wanted: Attributes) -> None:
    """Set attributes of the mount at `place`, and of all below it."""
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    told = (AT_FDCWD, bytes(place), AT_RECURSIVE, ctypes.byref(wanted), size)
    _require(libc.syscall(SYS_MOUNT_SETATTR, *told))


def _require(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main(sys.argv[1:])
