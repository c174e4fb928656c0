"""A held session while a copy is under way: looked at every now and then, ended once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from holdfast.errors import (
    HoldfastError,
    SessionCorrupt,
    SessionExpired,
    SessionLost,
    SessionNotFound,
    SnapshotLost,
)
from holdfast.holding import Ended, Holder, Holding

# How soon a restarted server is noticed, and how often a lease is renewed.
LOOK_SECONDS = 10.0


class Tender:
    """Speaks to the server of `holding` from one thread at a time.

    `lost` is told, once, why the session is worth nothing any more.
    """

    def __init__(self, holding: Holding, *, lost: Callable[[HoldfastError], None]) -> None:
        self._holding = holding
        self._lost = lost
        self._turn = threading.Lock()
        self._done = threading.Event()

    @contextmanager
    def at_work(self, *, seconds: float = LOOK_SECONDS) -> Iterator[None]:
        """Look at the session every `seconds` until it is lost, ended, or the block is left."""
        thread = threading.Thread(target=self._tend, args=[seconds], name="tender", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def end(self) -> Ended:
        """End it; no look comes after."""
        with self._turn:
            self._done.set()
            return self._holding.end()

    def _tend(self, seconds: float) -> None:
        while not self._done.wait(seconds):
            with self._turn:
                if self._done.is_set():
                    return
                try:
                    self._holding.look()
                except HoldfastError as error:
                    self._lost(error)
                    return


def joined(holder: Holder, session_id: str) -> Holding:
    """What an earlier run began. Raises `SnapshotLost` where it is worth nothing any more."""
    try:
        return holder.join(session_id)
    except (SessionLost, SessionExpired, SessionCorrupt, SessionNotFound) as error:
        raise SnapshotLost(error.message, hint=error.hint) from error


@contextmanager
def of_this_process(holding: Holding) -> Iterator[None]:
    """End a session of our own with the block; one that others hold stays for who resumes."""
    try:
        yield
    finally:
        if not holding.session_id:
            holding.abort()


def let_go(holding: Holding, *, finished: bool) -> None:
    """Have whoever holds the session for us forget it; one of our own ends with its block."""
    if not holding.session_id:
        return
    if finished:
        # So that nobody takes it for aborted. What is stored is a backup whatever is said to it.
        with suppress(HoldfastError):
            holding.end()
    holding.abort()
