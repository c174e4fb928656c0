"""One run of a job at a time on this host: a lock that ends with its process.

The lock file describes its owner so exactly that its end can be proven later, never guessed.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from holdfast.model.checked import Fits, Range
from holdfast.model.errors import ConfigInvalid, HoldfastError, RunInFlight
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.stored_json import Limits, Unreadable, parsed, plain, typed
from holdfast.model.values import Line, tells_moment
from holdfast.ports.run import Clock, Guard, Hold
from holdfast.runtime import kernel_calls
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.files import lines_of, make_state_folder, open_private, state_errors

if TYPE_CHECKING:
    pass


POLL_SECONDS = 1.0
LIMITS = Limits(size_bytes=1 << 16, containers=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """The owner of a lock, as the lock file describes it."""

    host: Line
    pid: Annotated[str, Fits(is_pid)]
    pid_space: Line
    boot_id: Line
    process_started: Line
    run_id: Line
    started_at: Annotated[Line, Fits(tells_moment)]
    deadline: Line


class HeldHere:
    """Obeys `ports.run.Hold`: the kernel keeps the lock as long as this process lives."""

    lost = ""

    def prove(self) -> None: ...


class OwnedGuard:
    """Obeys `ports.run.Guard` for a process that already has this host's lock of the job."""

    @contextmanager
    def hold(self, job: str, *, deadline: datetime | None) -> Iterator[Hold]:  # noqa: ARG002 - as the port has it
        yield HeldHere()

    def owner(self, job: str) -> dict[str, str] | None:  # noqa: ARG002 - as the port has it
        return None


class FlockGuard:
    """A `flock` on `FOLDER/JOB.lock`; the file says who holds it.

    The kernel frees the lock when its process ends, however it ends, and children do not inherit
    it. The file stays: if it were removed, two runs could lock two files of the same name.
    """

    def __init__(self, folder: Path, *, clock: Clock, run_id: str) -> None:
        self._folder = folder
        self._clock = clock
        self._run_id = run_id

    @contextmanager
    def hold(self, job: str, *, deadline: datetime | None) -> Iterator[Hold]:
        make_state_folder(self._folder)
        path = self._path(job)
        descriptor = open_private(path, os.O_RDWR)
        with afterwards(os.close, descriptor):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise self._in_flight(job) from error
            with afterwards(_forget_owner, descriptor, path):
                _write(descriptor, self._describe(deadline), path)
                yield HeldHere()

    def owner(self, job: str) -> dict[str, str] | None:
        """Reads the file without the lock: a lock could make a run that starts now skip."""
        described = self._described(job)
        return described if described and _is_alive(described) else None

    def _in_flight(self, job: str) -> RunInFlight:
        described = self._described(job)
        who = (
            f"process {described['pid']} has been running it since {described['started_at']}"
            if described
            else "another process is starting it"
        )
        return RunInFlight(
            f"cannot run job '{job}': {who}",
            hint=f"holdfast status {job} shows the run; this one was skipped",
        )

    def _describe(self, deadline: datetime | None) -> dict[str, str]:
        me = this_process()
        return {
            "host": me.host,
            "pid": str(me.pid),
            "pid_space": me.pid_space,
            "boot_id": me.boot_id,
            "process_started": me.started,
            "run_id": self._run_id,
            "started_at": self._clock().isoformat(timespec="seconds"),
            "deadline": deadline.isoformat(timespec="seconds") if deadline else "",
        }

    def _described(self, job: str) -> dict[str, str]:
        """The content of the file; empty if it is damaged or just being written."""
        try:
            line = next(lines_of(self._path(job), most_bytes=LIMITS.size_bytes), b"")
            return plain(typed(Described, parsed(line, LIMITS)))
        except (HoldfastError, Unreadable):
            return {}

    def _path(self, job: str) -> Path:
        return self._folder / f"{job}.lock"


class WaitingGuard:
    """Waits for the run in progress, up to a limit, instead of skipping at once."""

    def __init__(
        self,
        guard: Guard,
        *,
        at_most: timedelta,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._guard = guard
        self._at_most = at_most
        self._sleep = sleep
        self._monotonic = monotonic

    @contextmanager
    def hold(self, job: str, *, deadline: datetime | None) -> Iterator[Hold]:
        give_up_at = self._monotonic() + self._at_most.total_seconds()
        with ExitStack() as held:
            while True:
                try:
                    hold = held.enter_context(self._guard.hold(job, deadline=deadline))
                    break
                except RunInFlight:
                    if self._monotonic() >= give_up_at:
                        raise
                self._sleep(POLL_SECONDS)
            yield hold

    def owner(self, job: str) -> dict[str, str] | None:
        return self._guard.owner(job)


def _write(descriptor: int, owner: dict[str, str], path: Path) -> None:
    with state_errors(path):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(owner).encode() + b"\n", 0)


def _forget_owner(descriptor: int, path: Path) -> None:
    """Empty the file: that says that there is no owner, and needs no space on a full disk."""
    with state_errors(path):
        os.ftruncate(descriptor, 0)


def _is_alive(owner: dict[str, str]) -> bool:
    """Whether the owner is a run of this boot whose process is not proven to have ended."""
    me = this_process()
    process = Process(
        host=owner["host"],
        boot_id=owner["boot_id"],
        pid_space=owner["pid_space"],
        pid=int(owner["pid"]),
        started=owner["process_started"],
    )
    return process.boot_id == me.boot_id and not has_ended(process, seen_from=me)


# The highest value of kernel.pid_max.
MOST_PIDS = 1 << 22
Pid = Annotated[int, Range(at_least=1, at_most=MOST_PIDS)]


BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process as its own kernel knows it; `pid` is only valid in `pid_space`."""

    host: Line
    boot_id: Line
    pid_space: Line
    pid: Pid
    started: Line


def is_pid(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 1 <= int(text[:10]) <= MOST_PIDS


def this_process() -> Process:
    """The identity of this process.

    Raises `ConfigInvalid` if the kernel does not tell the boot id: without it, nobody could later
    prove that this process has ended.
    """
    pid = os.getpid()
    try:
        boot_id = BOOT_ID.read_text().strip()
    except OSError as error:
        raise ConfigInvalid(
            f"cannot identify this process: cannot read '{BOOT_ID}':"
            f" {os.strerror(error.errno or 0)}",
            hint="mount /proc (mount -t proc proc /proc); a unit must not have ProcSubset=pid",
        ) from error
    return Process(
        host=kernel_calls.host_name(),
        boot_id=boot_id,
        pid_space=_pid_space(),
        pid=pid,
        started=_start_ticks(pid),
    )


def has_ended(other: Process, *, seen_from: Process) -> bool:
    """Whether `other` has provably ended; False if this host cannot tell.

    A boot id identifies a kernel between two boots, but containers share it and have pids of their
    own. Another boot id may mean this host after a reboot, or a clone of it.
    """
    if (other.boot_id, other.pid_space) != (seen_from.boot_id, seen_from.pid_space):
        return False
    try:
        os.kill(other.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    # The pid alone proves nothing: the kernel may have given it to another process.
    return _start_ticks(other.pid) not in ("", other.started)


def boot_seconds() -> float:
    """A clock that nobody sets and that continues while the host is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _pid_space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _start_ticks(pid: int) -> str:
    """Field 22 of proc_pid_stat(5), or empty if /proc cannot be read.

    The second field is in brackets and may contain anything, also brackets and spaces.
    """
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except OSError:
        return ""
    return after_name.split()[19]
