"""The CPU time of a server includes that of sessions which end while it is read."""

from __future__ import annotations

from benchmarks.measure import TICKS, server_cpu_seconds

PARENT, SESSION = 1, 2


def test_a_session_that_ends_during_a_look_is_counted_in_its_parent() -> None:
    looks = iter(
        [
            {PARENT: 10, SESSION: 700},
            # The parent was read before it learnt of the end, the session was gone after that.
            {PARENT: 10},
            {PARENT: 710},
            {PARENT: 710},
            {PARENT: 710},
        ]
    )

    assert server_cpu_seconds(lambda: next(looks)) == 710 / TICKS


def test_a_session_that_ends_after_it_was_read_is_not_counted_twice() -> None:
    looks = iter(
        [
            {PARENT: 10, SESSION: 700},
            {SESSION: 700, PARENT: 710},
            {PARENT: 710},
            {PARENT: 710},
            {PARENT: 710},
        ]
    )

    assert server_cpu_seconds(lambda: next(looks)) == 710 / TICKS
