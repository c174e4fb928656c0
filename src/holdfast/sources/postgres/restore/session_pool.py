"""Sessions of a restore that work through a list in parallel; the first failure ends them all."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

import psycopg

from holdfast.runtime.cleanup import Cancellation
from holdfast.runtime.worker_pool import WorkerPool
from holdfast.sources.postgres.server.login import CANCEL_SECONDS, Login
from holdfast.sources.waiting_work import Waiting

Item = TypeVar("Item")


class SessionPool(Generic[Item]):
    """Works through items in their order, one session for each worker.

    An item waits until all that it `needs` is done: the `known_by` keys of other items, which must
    not need it in turn. It also waits for an item at work that `locks` the same thing.
    """

    def __init__(
        self,
        login: Login,
        work: Callable[[psycopg.Connection, Item], None],
        *,
        cancellation: Cancellation | None = None,
        prepare: Callable[[psycopg.Connection], None] = lambda _: None,
        known_by: Callable[[Item], Hashable] = id,
        needs: Callable[[Item], Iterable[Hashable]] = lambda _: (),
        locks: Callable[[Item], Iterable[Hashable]] = lambda _: (),
    ) -> None:
        self._locks = locks
        self._known_by = known_by
        self._needs = needs
        self._login = login
        self._work = work
        self._prepare = prepare
        self._cancellation = cancellation or Cancellation()

    def run(self, items: Sequence[Item], *, workers: int) -> None:
        waiting = Waiting(items, known_by=self._known_by, needs=self._needs, locks=self._locks)
        sessions = max(1, min(workers, len(waiting)))
        # No retry: the item that a failed session was working on would be skipped.
        pool = WorkerPool(sessions, abort=self._cancellation.abort, tries=1)
        pool.each(range(sessions), lambda _: self._serve(waiting))

    def _serve(self, waiting: Waiting[Item]) -> None:
        if not len(waiting):
            return
        with (
            self._login.session() as connection,
            self._cancellation.registered(
                lambda: connection.cancel_safe(timeout=CANCEL_SECONDS),
            ),
        ):
            self._prepare(connection)
            for item in waiting.each(self._cancellation.aborted):
                self._work(connection, item)
