"""A block of the main thread that another thread can end, whatever it waits for.

A driver that waits for its server, a child or a socket is not to be reached from another thread.
A signal reaches it: whatever waits comes back, and what its handler raises is raised there.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from holdfast.model.errors import Interrupted
from holdfast.runtime.cleanup import afterwards

SIGNAL = signal.SIGALRM


class Ended(Interrupted):
    """Somebody ended the block; `doing` is what it waited for, where that was told."""

    doing = ""


class _Told:
    doing = ""


def waiting_for(what: str) -> None:
    """Have whoever ends the block know what it waits for."""
    _Told.doing = what


@contextmanager
def endable() -> Iterator[Callable[[], None]]:
    """A function for other threads: it has `Ended` raised in the block, if that is not left yet.

    Only the main thread can be reached so; elsewhere the function does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield _nothing
        return
    wanted, left = threading.Event(), threading.Event()
    _Told.doing = ""

    def handle(_number: int, _frame: FrameType | None) -> None:
        if wanted.is_set() and not left.is_set():
            wanted.clear()
            error = Ended(f"cannot go on: {_Told.doing or 'it was ended'}")
            error.doing = _Told.doing
            raise error

    def end() -> None:
        wanted.set()
        signal.pthread_kill(threading.main_thread().ident or 0, SIGNAL)

    before = signal.signal(SIGNAL, handle)
    # Whoever started us may have blocked it, and a mask is handed down.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {SIGNAL})
    # One that comes late must not meet the default, which is to end the process: ours does nothing.
    after = handle if before in (None, signal.SIG_DFL) else before
    with afterwards(signal.signal, SIGNAL, after), afterwards(left.set):
        yield end


def _nothing() -> None:
    """The block ends by itself."""
