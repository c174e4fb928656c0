"""Run a program that somebody else wrote: its time, its output and its processes are bounded."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Mapping, Sequence

from holdfast.model.lazy_dataclass import dataclass
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.process import CHUNK_BYTES, Child, running

KEPT_BYTES = 8 << 10
KEPT_LINES = 20
LINE_CHARACTERS = 500
# A process that the program left behind may go on writing without end.
CHUNKS_AFTER_END = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """How the program ended; `output` is the end of what it wrote to stdout and stderr.

    A negative `status` is a signal's number. A program that ran out of time was ended.
    """

    status: int
    in_time: bool
    seconds: float
    output: str


def call(argv: Sequence[str], *, env: Mapping[str, str], timeout_seconds: float) -> Called:
    """Run `argv`, never a shell line, in the environment `env` and nothing else.

    All processes of its group end with it, also those that it left behind. Output beyond the end
    that is kept is read and dropped. Raises `ToolMissing`, `TasksRefused`.
    """
    began = time.monotonic()
    tail = bytearray()
    with running(argv, env=env, merged=True) as child:
        with afterwards(child.end_group):
            in_time = _read(child, tail, deadline=began + timeout_seconds)
        return Called(
            status=child.status,
            in_time=in_time,
            seconds=round(time.monotonic() - began, 3),
            output=_lines(tail),
        )


def _read(child: Child, tail: bytearray, *, deadline: float) -> bool:
    """Read until the program itself has ended; False at the deadline.

    The end of its output says nothing: a process that it left behind may keep the pipe open, and a
    program may close it and go on.
    """
    output = child.stdout.fileno()
    ended = os.pidfd_open(child.pid)
    with afterwards(os.close, ended):
        poller = select.poll()
        poller.register(ended, select.POLLIN)
        poller.register(output, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            ready = {descriptor for descriptor, _ in poller.poll(left * 1000)}
            if ended in ready:
                _rest(output, tail)
                return True
            if output in ready and not _keep(output, tail):
                poller.unregister(output)
    return False


def _rest(output: int, tail: bytearray) -> None:
    os.set_blocking(output, False)
    for _ in range(CHUNKS_AFTER_END):
        try:
            if not _keep(output, tail):
                return
        except BlockingIOError:
            return


def _keep(output: int, tail: bytearray) -> bool:
    """Read one chunk and keep the last bytes; False at the end of the output."""
    chunk = os.read(output, CHUNK_BYTES)
    tail += chunk
    del tail[:-KEPT_BYTES]
    return bool(chunk)


def _lines(tail: bytearray) -> str:
    lines = [line.strip() for line in tail.decode(errors="replace").splitlines()]
    kept = [line[:LINE_CHARACTERS] for line in lines if line]
    return " | ".join(kept[-KEPT_LINES:])
