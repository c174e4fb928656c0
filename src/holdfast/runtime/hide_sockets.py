"""A program that hides the sockets of other servers from itself, then becomes another program.

`python -I hide_sockets.py PLACE... -- PROGRAM ARGUMENT...`, in a mount namespace of its own, with
the right to mount there. A folder is covered by an empty one, a socket by /dev/null. The program
gets no right that its user has not. It imports nothing of holdfast, so it starts at once.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

MS_BIND = 4096
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4


def main(arguments: list[str]) -> None:
    end = arguments.index("--")
    libc = ctypes.CDLL(None, use_errno=True)
    for place in arguments[:end]:
        _hide(libc, Path(place))
    _require(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    os.execvp(arguments[end + 1], arguments[end + 1 :])  # noqa: S606 - its one purpose


def _hide(libc: ctypes.CDLL, place: Path) -> None:
    # What is gone by now needs no cover, and neither does what this user cannot get to.
    try:
        is_folder, is_there = place.is_dir(), place.exists()
    except PermissionError:
        return
    if is_folder:
        _require(libc.mount(b"none", bytes(place), b"tmpfs", 0, None))
    elif is_there:
        _require(libc.mount(b"/dev/null", bytes(place), None, MS_BIND, None))


def _require(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main(sys.argv[1:])
