"""A pseudo-terminal: the program in a child process, and the screen that a person sees."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

import pyte

LINES = 60
PATIENCE_SECONDS = 60.0
CHUNK_BYTES = 65536


@dataclass
class Terminal:
    """A program running on a terminal, and its output so far."""

    pid: int
    descriptor: int
    screen: pyte.Screen
    raw: bytearray = field(default_factory=bytearray)
    exit_code: int | None = None

    def __post_init__(self) -> None:
        self._stream = pyte.ByteStream(self.screen)

    @property
    def lines(self) -> list[str]:
        """The lines on the screen, without empty lines at the end."""
        shown = [line.rstrip() for line in self.screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def until(self, is_there: Callable[[str], bool]) -> None:
        """Read until the screen satisfies `is_there`; fails if the program ends or times out."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while not is_there(self.text):
            assert self._read(ends - time.monotonic()), f"it never came:\n{self.text}"

    def finish(self) -> int:
        """Read to the end; returns the exit code."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while self._read(ends - time.monotonic()):
            pass
        return self.wait()

    def press(self, keys: bytes) -> None:
        os.write(self.descriptor, keys)

    def wait(self) -> int:
        if self.exit_code is None:
            self.exit_code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.exit_code

    def _read(self, seconds: float) -> bool:
        """Whether more was read; Linux reports EIO once no process has the terminal open."""
        if not select.select([self.descriptor], [], [], max(0.0, seconds))[0]:
            return False
        try:
            chunk = os.read(self.descriptor, CHUNK_BYTES)
        except OSError:
            return False
        self.raw += chunk
        self._stream.feed(chunk)
        return bool(chunk)


@contextmanager
def terminal(
    program: Callable[[], None],
    *,
    columns: int,
    lines: int = LINES,
    environment: Mapping[str, str] | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> Iterator[Terminal]:
    """Run `program` in a child whose standard streams are a terminal of that size.

    If `stdout` or `stderr` is given, that descriptor replaces the terminal.
    """
    pid, descriptor = pty.fork()
    if pid == 0:
        _child(program, columns, lines, environment or {}, stdout, stderr)
    shown = Terminal(pid, descriptor, pyte.Screen(columns, lines))
    try:
        yield shown
    finally:
        os.close(descriptor)
        if shown.exit_code is None:
            os.kill(pid, 9)
            shown.wait()


def _child(
    program: Callable[[], None],
    columns: int,
    lines: int,
    environment: Mapping[str, str],
    stdout: int | None,
    stderr: int | None,
) -> None:
    code = 70
    # The background jobs of a shell ignore Ctrl-C, and their children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        for number, other in ((1, stdout), (2, stderr)):
            if other is not None:
                os.dup2(other, number)
        for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "COLORTERM"):
            os.environ.pop(name, None)
        os.environ.update({"TERM": "xterm-256color", **environment})
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            stream = _opened(number)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        program()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    finally:
        sys.stdout.flush()
        os._exit(code)


def _opened(number: int) -> TextIO:
    return open(number, "w" if number else "r", closefd=False, encoding="utf-8")
