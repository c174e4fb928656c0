"""Several sessions of a restore at work on a list; the first failure ends all the others."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Generic, TypeVar

import psycopg

from holdfast.cleanup import noted_on
from holdfast.sources.endings import Endings
from holdfast.sources.postgres_native.copy_command import CANCEL_SECONDS
from holdfast.sources.postgres_native.login import Login

Item = TypeVar("Item")


class Crew(Generic[Item]):
    """Works through items in their order, one session for each worker."""

    def __init__(
        self,
        login: Login,
        work: Callable[[psycopg.Connection, Item], None],
        *,
        endings: Endings | None = None,
        prepare: Callable[[psycopg.Connection], None] = lambda _: None,
    ) -> None:
        self._login = login
        self._work = work
        self._prepare = prepare
        self._endings = endings or Endings()
        self._lock = threading.Lock()
        self._first_failure: BaseException | None = None

    def run(self, items: Sequence[Item], *, workers: int) -> None:
        waiting = deque(items)
        sessions = max(1, min(workers, len(waiting)))
        with ThreadPoolExecutor(max_workers=sessions) as pool:
            try:
                for done in as_completed(
                    [pool.submit(self._serve, waiting) for _ in range(sessions)]
                ):
                    done.result()
            except BaseException as error:
                # The others end because of the first one; only that one says why.
                first = self._ended_by(error)
                if first is error:
                    raise
                raise first from first.__cause__

    def _serve(self, waiting: deque[Item]) -> None:
        if not waiting:
            return
        try:
            with (
                self._login.session() as connection,
                self._endings.registered(
                    lambda: connection.cancel_safe(timeout=CANCEL_SECONDS),
                ),
            ):
                self._prepare(connection)
                while not self._endings.aborted.is_set():
                    try:
                        item = waiting.popleft()
                    except IndexError:
                        return
                    self._work(connection, item)
        except BaseException as error:
            with noted_on(error):
                self._ended_by(error)
            raise

    def _ended_by(self, error: BaseException) -> BaseException:
        """End everything, and tell what came first."""
        with self._lock:
            if self._first_failure is None:
                self._first_failure = error
            first = self._first_failure
        self._endings.abort()
        return first
