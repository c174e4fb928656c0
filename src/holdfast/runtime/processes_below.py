"""Find, measure and end the processes of one private folder, also those of a parent that died.

A process belongs to the folder if it works there or below, or names it in its arguments, and runs
as the user that the caller names, by default the owner of the folder. No file says which processes
these are: a killed parent may not have written one, and the number in it may belong to another
process since.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from holdfast.runtime.cleanup import afterwards

LOOK_SECONDS = 0.05
_PROC = Path("/proc")


def processes_below(folder: Path, *, user: int | None = None) -> list[int]:
    """The running processes of `folder`, which is an absolute path without links."""
    owner = folder.stat().st_uid if user is None else user
    return [pid for pid in _running() if _is_below(pid, folder, owner=owner)]


def _running() -> Iterator[int]:
    for name in os.listdir(_PROC):
        if name.isdigit() and int(name) != os.getpid():
            yield int(name)


def _is_below(pid: int, folder: Path, *, owner: int) -> bool:
    # A process that has ended by now, or is another user's, cannot be examined.
    with suppress(OSError, ValueError):
        place = _PROC / str(pid)
        if place.stat().st_uid != owner or _is_dead(place):
            return False
        if (place / "cwd").readlink().is_relative_to(folder):
            return True
        words = (place / "cmdline").read_bytes().split(b"\0")
        return any(_names(os.fsdecode(word), folder) for word in words)
    return False


def _names(word: str, folder: Path) -> bool:
    """Whether an argument is a path in `folder`, alone or as the value of an option."""
    return any(
        each.startswith("/") and Path(each).is_relative_to(folder)
        for each in (word, word.partition("=")[2], word.rpartition("=")[2])
    )


def _is_dead(place: Path) -> bool:
    """Whether only its parent's wait is missing."""
    return (place / "stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")


def end_processes_below(
    folder: Path, *, user: int | None = None, within_seconds: float = 10.0
) -> int:
    """End all processes of `folder`: servers by an immediate shutdown, in the end by SIGKILL.

    Returns how many there were. Raises `TimeoutError` if one does not end, as in a broken disk.
    """
    owner = folder.stat().st_uid if user is None else user
    found = processes_below(folder, user=user)
    for number, seconds in ((signal.SIGQUIT, within_seconds), (signal.SIGKILL, within_seconds)):
        ends = time.monotonic() + seconds
        left = processes_below(folder, user=user)
        for pid in left:
            _signal(pid, number, folder, owner=owner)
        while left and time.monotonic() < ends:
            time.sleep(LOOK_SECONDS)
            left = processes_below(folder, user=user)
        if not left:
            return len(found)
    raise TimeoutError(f"processes {left} in '{folder}' do not end")


def _signal(pid: int, number: signal.Signals, folder: Path, *, owner: int) -> None:
    """Signal the process, unless its number belongs to another one since it was listed."""
    with suppress(ProcessLookupError, PermissionError):
        descriptor = os.pidfd_open(pid)
        with afterwards(os.close, descriptor):
            if _is_below(pid, folder, owner=owner):
                signal.pidfd_send_signal(descriptor, number)


def memory_below(folder: Path, *, user: int | None = None) -> int:
    """The bytes of memory that the processes of `folder` use; shared pages count once."""
    return sum(_memory(pid) for pid in processes_below(folder, user=user))


def _memory(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0
