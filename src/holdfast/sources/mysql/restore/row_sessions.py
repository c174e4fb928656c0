"""Loads scripts of rows by sessions of our own, which can all be ended at once.

A stock client reads each byte of a script to find where statements end. Here the next statement is
cut out while the server executes the last one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holdfast.model.backup import Relation
from holdfast.model.errors import HoldfastError
from holdfast.model.restore import Proven
from holdfast.runtime.cleanup import afterwards
from holdfast.sources.mysql.server.connection import Address, StatementFailed, Stopped
from holdfast.sources.mysql.server.session import Session, session

# A versioned comment is no statement for a server of another kind.
EMPTY_STATEMENT = 1065
Cut = Callable[[Iterator[bytes]], Iterator[tuple[Relation | None, bytes]]]


class RowsRefused(Exception):
    """The server refused a statement, or the connection ended; `relation` is the table, if any."""

    def __init__(self, relation: Relation | None, cause: HoldfastError) -> None:
        super().__init__(cause.message)
        self.relation = relation
        self.cause = cause


class RowSessions:
    """Obeys `stop` from any thread: it ends every session, and no new one begins."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._running: set[Session] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def load(self, proven: Proven, cut: Cut) -> None:
        """Run the statements that `cut` finds, in a session of their own.

        Raises `RowsRefused` for the first that failed, or `Stopped` after `stop`.
        """
        with session(self._address, purpose="loading") as loading, self._listed(loading):
            try:
                _run(loading, cut(iter(proven)))
            except RowsRefused:
                if self._stopped:
                    raise Stopped from None
                raise

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for each in running:
            each.cut()

    @contextmanager
    def _listed(self, loading: Session) -> Iterator[None]:
        with self._lock:
            if self._stopped:
                raise Stopped
            self._running.add(loading)
        with afterwards(self._unlist, loading):
            yield

    def _unlist(self, loading: Session) -> None:
        with self._lock:
            self._running.discard(loading)


def _run(loading: Session, script: Iterator[tuple[Relation | None, bytes]]) -> None:
    """Send each statement after the last was executed, and cut the next out in that time."""
    following = next(script, None)
    while following is not None:
        relation, sql = following
        with _named(relation):
            loading.ask(sql)
        following = next(script, None)
        with _named(relation):
            _answer(loading)


@contextmanager
def _named(relation: Relation | None) -> Iterator[None]:
    try:
        yield
    except HoldfastError as error:
        raise RowsRefused(relation, error) from error


def _answer(loading: Session) -> None:
    try:
        loading.answer()
    except StatementFailed as error:
        if error.code != EMPTY_STATEMENT:
            raise
