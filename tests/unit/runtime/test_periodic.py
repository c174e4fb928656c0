"""What is done every now and then beside a block, and when it stops."""

from __future__ import annotations

import threading

import pytest

from holdfast.runtime.periodic import periodically
from tests.support.waiting import until


def threads(name: str) -> int:
    return sum(each.name == name for each in threading.enumerate())


def test_it_is_done_again_and_again_and_not_after_the_block() -> None:
    done: list[int] = []
    with periodically(lambda: done.append(1), pause=lambda: 0.001, name="again"):
        until(lambda: len(done) > 2)
    seen = len(done)
    assert (threads("again"), len(done)) == (0, seen)


def test_it_ends_by_itself_once_it_says_so() -> None:
    done: list[int] = []

    def act() -> bool:
        done.append(1)
        return len(done) == 2

    with periodically(act, pause=lambda: 0.001, name="enough"):
        until(lambda: threads("enough") == 0)
        assert len(done) == 2


def test_a_block_that_fails_leaves_no_thread_behind_and_waits_for_no_pause() -> None:
    with (
        pytest.raises(ZeroDivisionError),
        periodically(lambda: None, pause=lambda: 3600.0, name="failed"),
    ):
        raise ZeroDivisionError
    assert threads("failed") == 0
