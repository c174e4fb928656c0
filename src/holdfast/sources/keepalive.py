"""Keeps a held session alive during a copy: checks it periodically and ends it once."""

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
    """Checks and ends `holding`, from one thread at a time.

    Calls `lost` at most once, with the error that made the session useless.
    """

    def __init__(self, holding: Holding, *, lost: Callable[[HoldfastError], None]) -> None:
        self._holding = holding
        self._lost = lost
        self._turn = threading.Lock()
        self._is_done = False

    def at_work(self, *, seconds: float = LOOK_SECONDS) -> AbstractContextManager[None]:
        """Check the session every `seconds` until it is lost or ended, or the block is left; does
        nothing for one that had ended before we joined it."""
        if self._holding.ended is not None:
            return nullcontext()
        return periodically(self._look, pause=lambda: seconds, name="tender")

    def end(self) -> Ended:
        """End the session; no check follows."""
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

    Raises `SnapshotLost` where the earlier session is no longer valid.
    """
    if not rejoin:
        return holder.begin(kind, label=RUN_LABEL, fast=fast, database=database)
    try:
        return holder.join(rejoin)
    except (SessionLost, SessionExpired, SessionCorrupt, SessionNotFound) as error:
        raise SnapshotLost(error.message, hint=error.hint) from error


@contextmanager
def of_this_process(holding: Holding) -> Iterator[None]:
    """End the process's own session with the block; one held elsewhere stays for a resume."""
    with afterwards(_abort_own, holding):
        yield


def _abort_own(holding: Holding) -> None:
    if not holding.session_id:
        holding.abort()


def release_session(holding: Holding, *, finished: bool) -> None:
    """Close a session that another process holds; the process's own one ends with its block."""
    if not holding.session_id:
        return
    if finished:
        # Ended first, so that it does not count as aborted. An error here does not make the backup
        # invalid.
        with suppress(HoldfastError):
            holding.end()
    holding.abort()
