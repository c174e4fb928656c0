"""Child processes that are always reaped, whose stderr is kept, and whose failure is an error."""

from __future__ import annotations

import fcntl
import os
import pwd
import select
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypedDict

from holdfast.model.errors import HoldfastError, TasksRefused, ToolMissing
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.restore import Proven
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.kernel import is_refusal

CHUNK_BYTES = 1 << 20
# The most that an ordinary user may set (fs.pipe-max-size); by default a pipe has 64 KiB, and both
# processes wait for each other that often.
PIPE_BYTES = 1 << 20
STDERR_LINES_KEPT = 12
GRACE_SECONDS = 5.0
_ROOT = Path("/")


class ChildFailed(HoldfastError):
    """A program ended with a non-zero status; callers translate it into their own error."""

    def __init__(self, program: str, status: int, stderr: str) -> None:
        how = f"status {status}" if status >= 0 else signal.Signals(-status).name
        super().__init__(f"{program} ended with {how}: {stderr or 'no message'}")
        self.program = program
        self.status = status
        self.stderr = stderr


class Child:
    """A running program; made by `running`."""

    def __init__(self, popen: subprocess.Popen[bytes], program: str, *, stderr_lines: int) -> None:
        self._popen = popen
        self.program = program
        self._tail: deque[str] = deque(maxlen=stderr_lines)
        self._drain = threading.Thread(target=self._keep_stderr, daemon=True)
        self._drain.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

    @property
    def status(self) -> int:
        """The status of a program that has ended; negative is a signal's number."""
        return self._popen.wait()

    def feed(self, proven: Proven) -> None:
        """Write all chunks to the program's input; if it stops reading, its status tells why."""
        stdin = _pipe(self._popen.stdin)
        with suppress(BrokenPipeError):
            for chunk in proven:
                stdin.write(chunk)
            stdin.flush()

    @property
    def stdin(self) -> IO[bytes]:
        """The input of a filter, which only transforms data; feed a program that executes it."""
        return _pipe(self._popen.stdin)

    @property
    def stdout(self) -> IO[bytes]:
        """The output, for a caller that reads and writes at the same time; others use `chunks`."""
        return _pipe(self._popen.stdout)

    def chunks(self, *, size_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        """The program's output; at its end, raises `ChildFailed` unless the status is 0."""
        descriptor = widened(_pipe(self._popen.stdout).fileno())
        while chunk := os.read(descriptor, size_bytes):
            yield chunk
        self.finish()

    def finish(self) -> None:
        """Close the input and wait for the program; raises `ChildFailed` unless its status is 0."""
        if self._popen.stdin is not None and not self._popen.stdin.closed:
            # If it stopped reading, its status says more than the broken pipe.
            with suppress(BrokenPipeError):
                self._popen.stdin.close()
        status = self._popen.wait()
        self._drain.join()
        if status != 0:
            raise ChildFailed(self.program, status, self.stderr)

    @property
    def stderr(self) -> str:
        """The last lines that the program wrote to stderr, joined."""
        return " | ".join(self._tail)

    def end(self) -> None:
        """Stop the program and its children if they still run, and reap it; from any thread."""
        if self._popen.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self._popen.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self._popen.wait()
        self._drain.join(GRACE_SECONDS)

    def end_group(self) -> None:
        """End the program and all processes of its group, also those that outlived it.

        Only while the program is not reaped: as long as it is not, no other group has its number.
        """
        if self._popen.returncode is not None:
            return
        ended = os.pidfd_open(self.pid)
        with afterwards(os.close, ended):
            poller = select.poll()
            poller.register(ended, select.POLLIN)
            try:
                self._signal(signal.SIGTERM)
                poller.poll(GRACE_SECONDS * 1000)
                self._signal(signal.SIGKILL)
            except PermissionError:
                # The group of `sudo` is another user's. Once the program has ended, that is none
                # of its failures; one that still runs cannot be ended by us.
                if not poller.poll(0):
                    raise
        self._popen.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, number)

    def _keep_stderr(self) -> None:
        if self._popen.stderr is None:
            return
        for line in self._popen.stderr:
            text = line.decode(errors="replace").strip()
            if text:
                self._tail.append(text)


def widened(descriptor: int) -> int:
    """Enlarge the pipe's buffer if the limit of the user's pipes permits it."""
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return descriptor


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The user that runs a program; only root may choose."""

    user: int
    group: int
    groups: tuple[int, ...] = ()

    @classmethod
    def named(cls, name: str) -> User | None:
        """The user of the operating system with that name; None if there is none."""
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            return None
        groups = tuple(os.getgrouplist(name, found.pw_gid))
        return cls(user=found.pw_uid, group=found.pw_gid, groups=groups)

    @property
    def starting(self) -> _Starting:
        """The arguments of `subprocess.Popen` for this user."""
        return {"user": self.user, "group": self.group, "extra_groups": self.groups}


class _Starting(TypedDict, total=False):
    user: int
    group: int
    extra_groups: Sequence[int]


@contextmanager
def running(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: bool = False,
    stdout: bool = True,
    pass_fds: Sequence[int] = (),
    stderr_lines: int = STDERR_LINES_KEPT,
    cwd: Path | None = None,
    user: User | None = None,
    merged: bool = False,
) -> Iterator[Child]:
    """Run `argv`, never a shell line, while the block runs; afterwards it is ended and reaped.

    It has its own process group, so that a Ctrl-C at the terminal reaches only holdfast. Pass
    secrets by `env` or `pass_fds`. With `merged`, its stderr goes where its stdout goes. Raises
    `ToolMissing` if the program is not installed.
    """
    with _starting(argv[0]):
        popen = subprocess.Popen(
            list(argv),
            env=dict(env) if env is not None else None,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE if stdout else subprocess.DEVNULL,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
            pass_fds=tuple(pass_fds),
            process_group=0,
            cwd=cwd,
            **(user.starting if user else {}),
        )
    try:
        child = Child(popen, Path(argv[0]).name, stderr_lines=stderr_lines)
    except RuntimeError as error:
        # The thread that reads its stderr was refused; without it the program must not run.
        with popen:
            popen.kill()
        raise _refused(argv[0]) from error
    with (
        afterwards(_close, popen.stderr),
        afterwards(_close, popen.stdout),
        afterwards(_close, popen.stdin),
        afterwards(child.end),
    ):
        yield child


class Outliving:
    """A program that continues after holdfast has ended; made by `outliving`."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        """Whether it still runs; reaps it if it has ended."""
        return self._popen.poll() is None

    def end(self, number: signal.Signals, *, within_seconds: float) -> None:
        """Send `number`, and SIGKILL if the program has not ended in time."""
        if not self.is_running:
            return
        self._popen.send_signal(number)
        try:
            self._popen.wait(within_seconds)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


def outliving(
    argv: Sequence[str],
    *,
    log: IO[bytes],
    user: User | None = None,
    cwd: Path = _ROOT,
    env: Mapping[str, str] | None = None,
) -> Outliving:
    """Run `argv`, never a shell line, in its own session, with all its output in `log`.

    For a server that is to keep running. Raises `ToolMissing` if the program is not installed.
    """
    with _starting(argv[0]):
        return Outliving(
            subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=cwd,
                env=dict(env) if env is not None else None,
                start_new_session=True,
                **(user.starting if user else {}),
            )
        )


@contextmanager
def _starting(program: str) -> Iterator[None]:
    """Translates the errors that keep `program` from starting."""
    try:
        yield
    except FileNotFoundError as error:
        raise ToolMissing(
            f"cannot run '{program}': it is not installed",
            hint=f"install the package that provides '{Path(program).name}'",
        ) from error
    except OSError as error:
        if not is_refusal(error):
            raise
        raise _refused(program) from error


def _refused(program: str) -> TasksRefused:
    return TasksRefused(
        f"cannot start '{program}': the kernel refused another process or thread",
        hint="raise TasksMax= of the service, or give the job fewer processes",
    )


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("this child was started without that pipe")
    return stream


def _close(stream: IO[bytes] | None) -> None:
    if stream is None:
        return
    # Bytes still buffered for a program that has ended cannot be written.
    with suppress(BrokenPipeError, ValueError):
        stream.close()


def output_of(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    translate: Callable[[ChildFailed], HoldfastError] | None = None,
    cwd: Path | None = None,
    user: User | None = None,
) -> str:
    """All output of a program; for short answers only."""
    try:
        with running(argv, env=env, pass_fds=pass_fds, cwd=cwd, user=user) as child:
            return b"".join(child.chunks()).decode(errors="replace")
    except ChildFailed as error:
        if translate is None:
            raise
        raise translate(error) from error
