"""How a block of code ends: its clean-up, who may end it from outside, and what runs beside it.

`finally`, `closing` and callbacks of an `ExitStack` let an error of theirs take the place of the
one that they clean up after, and nobody sees that any more. Here theirs becomes a note on it, and
is raised only where there is no other.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from holdfast.model.errors import BackupFailed, HoldfastError, Interrupted


class Afterwards:
    """Calls something when its block is left; made by `afterwards` and `on_failure`."""

    __slots__ = ("_always", "_arguments", "_step")

    def __init__(
        self, step: Callable[..., object], arguments: tuple[Any, ...], *, always: bool
    ) -> None:
        self._step = step
        self._arguments = arguments
        self._always = always

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        cause: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if cause is None and not self._always:
            return
        try:
            self._step(*self._arguments)
        except Exception as fault:
            # An interruption is no fault of the clean-up, and comes only once. A generator that is
            # closed early has no cause to tell.
            if cause is None or isinstance(fault, Interrupted) or isinstance(cause, GeneratorExit):
                raise
            add_note(cause, fault)


def afterwards(step: Callable[..., object], *arguments: object) -> Afterwards:
    """`with afterwards(os.close, descriptor):` calls it after the block, whatever came of that."""
    return Afterwards(step, arguments, always=True)


def on_failure(step: Callable[..., object], *arguments: object) -> Afterwards:
    """As `afterwards`, but only where the block raised something."""
    return Afterwards(step, arguments, always=False)


@contextmanager
def noted_on(cause: BaseException) -> Iterator[None]:
    """For clean-up in an `except` block: what goes wrong in it becomes a note on `cause`."""
    try:
        yield
    except Interrupted:
        raise
    except Exception as fault:  # noqa: BLE001 - whatever it is, it comes second
        add_note(cause, fault)


def add_note(cause: BaseException, fault: BaseException) -> None:
    """Have `cause` tell of `fault` as well, unless that is the same trouble once more."""
    if isinstance(fault, HoldfastError) and type(fault) is type(cause):
        return
    said = str(fault) or type(fault).__name__
    note = f"cleaning up after it failed as well: {said}"
    if note not in getattr(cause, "__notes__", ()):
        cause.add_note(note)


def notes_of(error: BaseException) -> list[str]:
    """What is noted on `error`, and on whatever it was raised from."""
    notes: list[str] = []
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        notes += getattr(each, "__notes__", ())
        each = each.__cause__
    return notes


class Cancellation:
    """What has to be ended when a run is: registered while it works, from any thread."""

    def __init__(self) -> None:
        self.aborted = threading.Event()
        self._lock = threading.Lock()
        self._under_way: dict[object, Callable[[], None]] = {}

    @contextmanager
    def registered(self, end: Callable[[], None]) -> Iterator[None]:
        """`end` is called from another thread if `abort` comes before the block is left."""
        token = object()
        with self._lock:
            if self.aborted.is_set():
                raise BackupFailed("cannot begin another read: the run was ended")
            self._under_way[token] = end
        with afterwards(self._forget, token):
            yield

    def _forget(self, token: object) -> None:
        with self._lock:
            del self._under_way[token]

    def abort(self) -> None:
        """End everything; more than once is no harm, and one that fails does not spare the rest."""
        with self._lock:
            self.aborted.set()
            ends = list(self._under_way.values())
        for end in ends:
            try:
                end()
            except Exception:  # noqa: BLE001, S112  # its owner closes it anyway, and sees why
                continue


# A driver that waits for its server, a child or a socket is not to be reached from another thread.
# A signal reaches it: whatever waits comes back, and what its handler raises is raised there.
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


@contextmanager
def periodically(
    act: Callable[[], bool | None], *, pause: Callable[[], float], name: str
) -> Iterator[None]:
    """Call `act` in a thread of its own until the block ends or it returns True.

    `pause` gives the seconds before each call. What `act` is at when the block ends is waited for.
    """
    over = threading.Event()

    def tick() -> None:
        while not over.wait(pause()):
            if act():
                return

    ticker = threading.Thread(target=tick, name=name, daemon=True)
    ticker.start()
    with afterwards(ticker.join), afterwards(over.set):
        yield
