"""Who runs a job: enough to prove later that the process has ended, and never to guess it."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le

from holdfast.model.backup import Line
from holdfast.model.errors import ConfigInvalid

# What kernel.pid_max may be set to, at the most.
MOST_PIDS = 1 << 22
Pid = Annotated[int, Ge(1), Le(MOST_PIDS)]


BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process as its own kernel knows it; `pid` means something in `pid_space` only."""

    host: Line
    boot_id: Line
    pid_space: Line
    pid: Pid
    started: Line


def is_pid(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 1 <= int(text[:10]) <= MOST_PIDS


def this_process() -> Process:
    """Raises `ConfigInvalid` where the kernel does not tell who we are: without that nobody could
    prove later that this process has ended."""
    pid = os.getpid()
    try:
        boot_id = BOOT_ID.read_text().strip()
    except OSError as error:
        raise ConfigInvalid(
            f"cannot tell this process from others: '{BOOT_ID}': {os.strerror(error.errno or 0)}",
            hint="mount /proc (mount -t proc proc /proc); a unit must not have ProcSubset=pid",
        ) from error
    return Process(
        host=socket.gethostname(),
        boot_id=boot_id,
        pid_space=_pid_space(),
        pid=pid,
        started=_start_ticks(pid),
    )


def has_ended(other: Process, *, seen_from: Process) -> bool:
    """Whether `other` is proven to be gone; False where nobody here can tell.

    A boot id is one kernel between two boots, but containers share it and have pids of their
    own; another boot id may be this host after a reboot, or a machine cloned from it.
    """
    if (other.boot_id, other.pid_space) != (seen_from.boot_id, seen_from.pid_space):
        return False
    try:
        os.kill(other.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    # A pid alone may have been given to somebody else by now.
    return _start_ticks(other.pid) not in ("", other.started)


def boot_seconds() -> float:
    """A clock that nobody sets and that goes on while the host is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _pid_space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _start_ticks(pid: int) -> str:
    """Field 22 of proc_pid_stat(5), or empty where /proc does not tell.

    The second field is in brackets and may hold anything.
    """
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except OSError:
        return ""
    return after_name.split()[19]
