"""How a block of code ends: clean-up, interruption from another thread, and work beside the block.

With `finally`, `closing` and callbacks of an `ExitStack`, an error of the clean-up replaces the
error of the block, and nobody sees the original. Here the clean-up's error becomes a note on the
original, and is raised only if there is no other.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from holdfast.model.errors import BackupFailed, HoldfastError, Interrupted
from holdfast.runtime.kernel import start


class Afterwards:
    """Calls a function when its block is left; made by `afterwards` and `on_failure`."""

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
            # A generator that is closed early has no error that could carry the note.
            if cause is None or isinstance(cause, GeneratorExit):
                raise
            add_note(cause, fault)


def afterwards(step: Callable[..., object], *arguments: object) -> Afterwards:
    """`with afterwards(os.close, descriptor):` calls it after the block, also after an error."""
    return Afterwards(step, arguments, always=True)


def on_failure(step: Callable[..., object], *arguments: object) -> Afterwards:
    """Like `afterwards`, but only if the block raised an error."""
    return Afterwards(step, arguments, always=False)


@contextmanager
def noted_on(cause: BaseException) -> Iterator[None]:
    """For clean-up in an `except` block: an error in it becomes a note on `cause`."""
    try:
        yield
    except Exception as fault:  # noqa: BLE001 - whatever it is, it comes second
        add_note(cause, fault)


def add_note(cause: BaseException, fault: BaseException) -> None:
    """Note `fault` on `cause`, unless both are the same class of our errors."""
    if isinstance(fault, HoldfastError) and type(fault) is type(cause):
        return
    said = str(fault) or type(fault).__name__
    note = f"the clean-up failed as well: {said}"
    if note not in getattr(cause, "__notes__", ()):
        cause.add_note(note)


def notes_of(error: BaseException) -> list[str]:
    """The notes on `error` and on the errors that caused it."""
    notes: list[str] = []
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        notes += getattr(each, "__notes__", ())
        each = each.__cause__
    return notes


class Cancellation:
    """The work to end when a run is aborted; work registers itself, from any thread."""

    def __init__(self) -> None:
        self.aborted = threading.Event()
        self._lock = threading.Lock()
        self._under_way: dict[object, Callable[[], None]] = {}

    @contextmanager
    def registered(self, end: Callable[[], None]) -> Iterator[None]:
        """Have `abort` call `end`, from its own thread, if it comes before the block is left."""
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
        """End all registered work, even if one `end` fails; may be called more than once."""
        with self._lock:
            self.aborted.set()
            ends = list(self._under_way.values())
        interruption: Interrupted | None = None
        for end in ends:
            try:
                end()
            except Interrupted as error:
                interruption = error
            except Exception:  # noqa: BLE001, S112  # its owner closes it anyway, and sees why
                continue
        if interruption is not None:
            raise interruption


# Another thread cannot reach a driver that waits for its server, a child or a socket. A signal can:
# the wait returns, and the error that the signal's handler raises is raised there.
SIGNAL = signal.SIGALRM


class Ended(Interrupted):
    """The block was ended from another thread; `doing` is what it waited for, if known."""

    doing = ""


class _Told:
    doing = ""


def waiting_for(what: str) -> None:
    """Record what the block waits for, for the message of `Ended`."""
    _Told.doing = what


@contextmanager
def endable() -> Iterator[Callable[[], None]]:
    """Yields a function for other threads that raises `Ended` in the block, unless it has ended.

    Only a block in the main thread can be ended; elsewhere the function does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield _nothing
        return
    wanted, left = threading.Event(), threading.Event()
    _Told.doing = ""

    def handle(_number: int, _frame: FrameType | None) -> None:
        if wanted.is_set() and not left.is_set():
            wanted.clear()
            error = Ended(f"cannot continue: {_Told.doing or 'it was ended'}")
            error.doing = _Told.doing
            raise error

    def end() -> None:
        wanted.set()
        signal.pthread_kill(threading.main_thread().ident or 0, SIGNAL)

    before = signal.signal(SIGNAL, handle)
    # The parent process may have blocked the signal, and a signal mask is inherited.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {SIGNAL})
    # The default action of a late signal would end the process: our handler stays and ignores it.
    after = handle if before in (None, signal.SIG_DFL) else before
    with afterwards(signal.signal, SIGNAL, after), afterwards(left.set):
        yield end


def _nothing() -> None:
    """Do nothing: outside the main thread a block ends by itself."""


@contextmanager
def periodically(
    act: Callable[[], bool | None], *, pause: Callable[[], float], name: str
) -> Iterator[None]:
    """Call `act` in its own thread until the block ends or `act` returns True.

    `pause` gives the seconds before each call. Leaving the block waits for a call in progress.
    """
    over = threading.Event()

    def tick() -> None:
        while not over.wait(pause()):
            if act():
                return

    ticker = threading.Thread(target=tick, name=name, daemon=True)
    start(ticker)
    with afterwards(ticker.join), afterwards(over.set):
        yield
