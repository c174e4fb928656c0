"""How many slots may work at this moment."""

from __future__ import annotations

from holdfast.runtime.adaptive_limit import AdaptiveLimit


class Watch:
    """A monotonic clock that is told the time."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_the_host_is_looked_at_again_but_not_more_than_once_a_second() -> None:
    watch, seen = Watch(), [8, 2, 6]
    room = AdaptiveLimit(4, look=lambda _working, _threads: seen.pop(0), monotonic=watch)
    assert [room.allowed(working=0), room.allowed(working=1)] == [4, 4]
    watch.seconds = 1.0
    assert room.allowed(working=4) == 2
    watch.seconds = 2.5
    assert room.allowed(working=2) == 4
    assert seen == []


def test_what_is_looked_at_knows_who_is_working() -> None:
    asked: list[tuple[int, int]] = []

    def look(working: int, threads: int) -> int:
        asked.append((working, threads))
        return 3

    AdaptiveLimit(5, look=look).allowed(working=2)
    assert asked == [(2, 5)]


def test_refusals_halve_the_slots_down_to_one() -> None:
    room = AdaptiveLimit(8)
    allowed = []
    for _ in range(5):
        room.halve()
        allowed.append(room.allowed(working=0))
    assert allowed == [4, 2, 1, 1, 1]


def test_one_slot_is_left_whatever_the_host_says() -> None:
    assert AdaptiveLimit(4, look=lambda _working, _threads: -20).allowed(working=1) == 1
