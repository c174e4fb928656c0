"""Work that waits for other work is handed out in order, and to nobody once it was ended."""

from __future__ import annotations

import threading

import pytest

from holdfast.model.errors import HoldfastError
from holdfast.sources.waiting_work import Waiting

NEEDS = {"a": "", "b": "a", "c": "", "d": "bc"}


def waiting() -> Waiting[str]:
    return Waiting(NEEDS, known_by=str, needs=lambda item: NEEDS[item])


def test_items_come_in_their_order_as_soon_as_all_that_they_need_is_done() -> None:
    left, going = waiting(), threading.Event()
    assert (left.take(going), left.take(going)) == ("a", "c")
    left.done("a")
    assert left.take(going) == "b"
    left.done("c")
    left.done("b")
    assert left.take(going) == "d"
    assert left.take(going) is None


def test_an_item_that_waits_for_another_runs_when_that_is_done() -> None:
    left, going = waiting(), threading.Event()
    left.take(going)
    left.take(going)
    taken: list[str | None] = []
    thread = threading.Thread(target=lambda: taken.append(left.take(going)))
    thread.start()
    left.done("a")
    thread.join(timeout=10)
    assert taken == ["b"]


def test_nobody_waits_for_what_was_ended() -> None:
    left, ended = waiting(), threading.Event()
    left.take(ended)
    left.take(ended)
    ended.set()
    assert left.take(ended) is None


def test_of_items_that_lock_the_same_thing_only_one_is_out_at_a_time() -> None:
    left: Waiting[str] = Waiting(
        ["ab", "bc", "cd"], known_by=str, needs=lambda _: (), locks=lambda item: item
    )
    going = threading.Event()
    assert (left.take(going), left.take(going)) == ("ab", "cd")
    left.done("cd")
    left.done("ab")
    assert left.take(going) == "bc"


@pytest.mark.parametrize("needs", [{"a": "b", "b": "a"}, {"a": "c", "b": "a"}])
def test_items_whose_needs_nobody_does_are_an_error_and_no_endless_wait(
    needs: dict[str, str],
) -> None:
    left = Waiting(needs, known_by=str, needs=lambda item: needs[item])
    with pytest.raises(HoldfastError, match="2 steps wait for each other"):
        left.take(threading.Event())
