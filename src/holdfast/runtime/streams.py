"""Standard streams on which no failed write can end a run or change its exit code.

A server acts on exit codes: a full disk under its log, or a reader that went away, must not look
like the result of a run. Output that cannot be written is dropped, and a loss on stdout is
remembered.
"""

from __future__ import annotations

import errno
import io
import os
import re
import select
import sys
from contextlib import suppress
from typing import TextIO

from holdfast.model.errors import OutputLost
from holdfast.model.lazy_dataclass import dataclass

STDIN, STDOUT, STDERR = 0, 1, 2
FALLBACK_COLUMNS = 80
_SPECIAL = re.compile(r"[^\n -~]")


class Outlet(io.RawIOBase):
    """Writes to a descriptor and never raises `OSError`; `lost` is the first such error.

    A document with a hole is worse than one that ends early: with `whole`, nothing is written after
    the first loss.
    """

    def __init__(self, descriptor: int, *, is_open: bool, whole: bool) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._is_open = is_open
        self._whole = whole
        self.lost: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]  # whatever `RawIOBase` is handed
        size_bytes = len(view)
        if not self._is_open:
            self.lost = self.lost or OSError(errno.EBADF, os.strerror(errno.EBADF))
        elif not (self._whole and self.lost):
            self._write(view)
        return size_bytes

    def _write(self, view: memoryview) -> None:
        try:
            while view:
                with suppress(BlockingIOError):
                    view = view[os.write(self._descriptor, view) :]
                    continue
                # Another process on the same terminal or pipe has made it non-blocking.
                select.select([], [self._descriptor], [])
        except OSError as error:
            self.lost = self.lost or error


@dataclass(slots=True)
class _Answer:
    """Whether lost output means that the call failed: yes, unless a command says otherwise."""

    counts: bool = True


_answer = _Answer()


def guard() -> None:
    """Give this process standard streams that never fail; call it before any file is opened.

    A closed descriptor is opened on the null device. Otherwise the next opened file would get its
    number, and with it everything that a library or a child prints.
    """
    open_ones = [number for number in (STDIN, STDOUT, STDERR) if _is_open(number)]
    _fill_closed()
    for name, number in (("stdout", STDOUT), ("stderr", STDERR)):
        stream = getattr(sys, name)
        # A test that captures output has already replaced the stream.
        if stream is None or stream is getattr(sys, f"__{name}__"):
            outlet = Outlet(number, is_open=number in open_ones, whole=number == STDOUT)
            setattr(sys, name, _text(outlet, stream))
    _answer.counts = True


def code_is_the_answer() -> None:
    """The command is called for its effect: its exit code is the answer, not its output."""
    _answer.counts = False


def output_is_the_answer() -> None:
    """The command is called for its output: without it the call has failed."""
    _answer.counts = True


def require_answer() -> None:
    """Raise `OutputLost` if stdout was the answer and could not be written."""
    if sys.stdout is None:
        return
    sys.stdout.flush()
    lost = _lost()
    if lost is not None and _answer.counts:
        cause = os.strerror(lost.errno or 0)
        raise OutputLost(
            f"cannot write the output to stdout: {cause}",
            hint="the command succeeded; only its output is lost",
        )


def reader_is_gone() -> bool:
    """Whether stdout is a pipe whose reader has closed it."""
    lost = _lost()
    return lost is not None and lost.errno == errno.EPIPE


def printable(text: str) -> str:
    """`text` with control characters escaped: a table's name may contain an escape sequence."""
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in text
    )


def printable_json(document: str) -> str:
    """JSON with control and invisible characters as `\\uXXXX`, which means the same to a parser."""
    return _SPECIAL.sub(_escaped, document)


def _escaped(found: re.Match[str]) -> str:
    from json import dumps  # this module is read first, also where no JSON is written

    return found[0] if found[0].isprintable() else dumps(found[0])[1:-1]


def print_trace(error: BaseException) -> None:
    """Print where `error` came from to stderr; its text may come from a store or a server."""
    from traceback import format_exception

    sys.stderr.write(printable("".join(format_exception(error))))


def folded(text: str, stream: TextIO) -> str:
    """`text` folded to the width of the terminal, without breaking words.

    Elsewhere it is unchanged, so that grep can find it.
    """
    if not stream.isatty():
        return text
    try:
        width = os.get_terminal_size(stream.fileno()).columns
    except OSError:
        width = 0
    return "\n".join(
        piece
        for line in text.split("\n")
        for piece in wrapped(line, width or FALLBACK_COLUMNS) or [""]
    )


def wrapped(line: str, width: int) -> list[str]:
    """`line` folded at spaces only: a name or an address that is copied stays whole."""
    from textwrap import wrap

    return wrap(line, width, break_long_words=False, break_on_hyphens=False)


def has_colours(stream: TextIO) -> bool:
    """Whether the stream is a terminal with colours, and the user has not turned them off."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
    return wanted and stream.isatty()


def _lost() -> OSError | None:
    outlet = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return outlet.lost if isinstance(outlet, Outlet) else None


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _fill_closed() -> None:
    """Open the null device on closed standard streams: the kernel gives out the lowest number."""
    with suppress(OSError):  # a host without a null device has other troubles
        while (opened := os.open(os.devnull, os.O_RDWR)) <= STDERR:
            os.set_inheritable(opened, True)  # noqa: FBT003 - as the function has it
        os.close(opened)


def _text(outlet: Outlet, before: io.TextIOWrapper | None) -> io.TextIOWrapper:
    """A text stream like Python's own; characters that its encoding lacks are escaped."""
    return io.TextIOWrapper(
        io.BufferedWriter(outlet),
        encoding=before.encoding if before is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=outlet.fileno() == STDERR or outlet.isatty(),
    )
