"""Several sessions work on a list: in order, bounded, ended by the first failure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from holdfast.model.errors import RestoreFailed, TasksRefused
from holdfast.sources.postgres.restore.session_pool import SessionPool
from holdfast.sources.postgres.server.login import Login
from tests.support.threads import refuse_threads, threads_named

WAIT_SECONDS = 60.0


class FakeConnection:
    """A session that can be cancelled."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def cancel_safe(self, *, timeout: float) -> None:
        del timeout
        self.cancelled.set()


class FakeLogin:
    """Opens sessions, and counts those that stay open."""

    def __init__(self) -> None:
        self.open = 0
        self.begun = 0
        self._lock = threading.Lock()

    @contextmanager
    def session(self) -> Iterator[FakeConnection]:
        with self._lock:
            self.open += 1
            self.begun += 1
        try:
            yield FakeConnection()
        finally:
            with self._lock:
                self.open -= 1


def pool_of(login: FakeLogin, work: Callable[[Any, str], None]) -> SessionPool[str]:
    return SessionPool(cast(Login, login), work)


def test_the_first_failure_of_a_restore_ends_the_other_sessions_and_is_the_one_raised() -> None:
    login, both_in = FakeLogin(), threading.Barrier(2)

    def work(connection: FakeConnection, item: str) -> None:
        both_in.wait(WAIT_SECONDS)
        if item == "cause":
            raise RestoreFailed("cannot restore table 'orders': disk full")
        assert connection.cancelled.wait(WAIT_SECONDS)
        raise RestoreFailed("cannot restore table 'items': canceling statement")

    with pytest.raises(RestoreFailed, match="disk full"):
        pool_of(login, work).run(["consequence", "cause"], workers=2)
    assert login.open == 0
    assert threads_named("slot-") == []


def test_a_restore_continues_with_the_threads_that_the_host_grants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse_threads(monkeypatch, "slot-[2-9]")
    login, done = FakeLogin(), list[str]()
    pool_of(login, lambda _, item: done.append(item)).run(list("abcdef"), workers=4)
    assert done == list("abcdef")
    assert (login.open, login.begun) == (0, 1)


def test_what_a_session_had_begun_when_a_task_was_refused_is_told_and_not_passed_over() -> None:
    def work(_: FakeConnection, item: str) -> None:
        raise TasksRefused(f"cannot load '{item}': the kernel refused another process or thread")

    with pytest.raises(TasksRefused, match="cannot load 'a'"):
        pool_of(FakeLogin(), work).run(["a", "b"], workers=1)
