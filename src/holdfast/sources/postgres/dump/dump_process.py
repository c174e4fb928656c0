"""One pg_dump of the whole database: begun before anybody can queue for a lock, read later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from holdfast.runtime.cleanup import Cancellation
from holdfast.runtime.process import Child, ChildFailed, running
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.dump import Dump, of_its_own, wait_for_locks
from holdfast.sources.postgres.server.login import Login

Arguments = Callable[[Login], list[str]]
"""How pg_dump is called by who logs in."""


class DumpProcess:
    """pg_dump as `arguments` say, for `login`."""

    def __init__(self, login: Login, arguments: Arguments) -> None:
        self._login = of_its_own(login)
        self._subject = f"database '{login.database}'"
        self._arguments = arguments
        self._begun: Child | None = None

    @contextmanager
    def begun(self, held: psycopg.Connection) -> Iterator[None]:
        """It runs for the length of the block, and has locked every table when that begins.

        What it writes waits in a pipe until somebody reads. Raises `LockTimedOut`.
        """
        with self._running() as child:
            wait_for_locks(held, self._login, is_running=lambda: child.is_running)
            if not child.is_running:
                self._require_well(child)
            self._begun = child
            yield

    @contextmanager
    def reading(self, endings: Cancellation) -> Iterator[Dump]:
        """What it writes; whoever reads a second time has it begin anew."""
        child, self._begun = self._begun, None
        if child is not None:
            with endings.registered(child.end):
                yield Dump(child, self._subject, endings.aborted)
            return
        with self._running() as again, endings.registered(again.end):
            yield Dump(again, self._subject, endings.aborted)

    @contextmanager
    def _running(self) -> Iterator[Child]:
        with running(self._arguments(self._login), env=self._login.environment()) as child:
            yield child

    def _require_well(self, child: Child) -> None:
        try:
            child.finish()
        except ChildFailed as error:
            raise failures.dumping(error, self._subject) from error
