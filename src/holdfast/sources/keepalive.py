"""A held session while a copy is under way: looked at every now and then, ended once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from holdfast.model.errors import (
    HoldfastError,
    SessionCorrupt,
    SessionExpired,
    SessionLost,
    SessionNotFound,
    SnapshotLost,
)
from holdfast.ports.sessions import RUN_LABEL, Ended, HeldKind, Holder, Holding
from holdfast.runtime.cleanup import afterwards, periodically

# How soon a restarted server is noticed, and how often a lease is renewed.
LOOK_SECONDS = 10.0


class Keepalive:
    """Speaks to the server of `holding` from one thread at a time.

    `lost` is told, once, why the session is worth nothing any more.
    """

    def __init__(self, holding: Holding, *, lost: Callable[[HoldfastError], None]) -> None:
        self._holding = holding
        self._lost = lost
        self._turn = threading.Lock()
        self._is_done = False

    def at_work(self, *, seconds: float = LOOK_SECONDS) -> AbstractContextManager[None]:
        """Look at the session every `seconds` until it is lost, ended, or the block is left; never
        at one that had ended before we joined it."""
        if self._holding.ended is not None:
            return nullcontext()
        return periodically(self._look, pause=lambda: seconds, name="tender")

    def end(self) -> Ended:
        """End it; no look comes after."""
        with self._turn:
            self._is_done = True
            return self._holding.end()

    def _look(self) -> bool:
        with self._turn:
            if not self._is_done:
                try:
                    self._holding.look()
                except HoldfastError as error:
                    self._is_done = True
                    self._lost(error)
            return self._is_done


def held_session(
    holder: Holder, kind: HeldKind, *, rejoin: str, fast: bool = True, database: str = ""
) -> Holding:
    """The session of an earlier run where `rejoin` names one, else a new one for this run.

    Raises `SnapshotLost` where the earlier one is worth nothing any more.
    """
    if not rejoin:
        return holder.begin(kind, label=RUN_LABEL, fast=fast, database=database)
    try:
        return holder.join(rejoin)
    except (SessionLost, SessionExpired, SessionCorrupt, SessionNotFound) as error:
        raise SnapshotLost(error.message, hint=error.hint) from error


@contextmanager
def of_this_process(holding: Holding) -> Iterator[None]:
    """End a session of our own with the block; one that others hold stays for who resumes."""
    with afterwards(_abort_own, holding):
        yield


def _abort_own(holding: Holding) -> None:
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
