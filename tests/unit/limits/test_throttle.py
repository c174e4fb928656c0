from __future__ import annotations

import threading
import time

import pytest

from holdfast.limits.throttle import CREDIT_SECONDS, Throttle, ThrottleLimit


def test_the_rate_is_that_of_all_workers_together() -> None:
    pace = Throttle(bytes_per_second=1_000_000)
    began = time.monotonic()

    def work() -> None:
        for _ in range(10):
            pace.spend(20_000)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # 800 kB at 1 MB/s, less what may be sent at once; never faster, however many they are.
    assert time.monotonic() - began >= 0.8 - CREDIT_SECONDS - 0.05


def test_without_a_rate_nobody_waits() -> None:
    pace = Throttle()
    for _ in range(1000):
        pace.spend(1 << 40)
    assert not pace.is_paused


def test_above_a_limit_the_workers_wait_and_then_go_on() -> None:
    load = [9.0]
    pace = Throttle(limits=[ThrottleLimit(name="load", most=8.0, look=lambda: load[0])])
    pace.look()
    assert pace.is_paused
    began, said = threading.Event(), list[str]()

    def work() -> None:
        began.set()
        pace.spend(1)
        said.append("went on")

    thread = threading.Thread(target=work)
    thread.start()
    assert began.wait(60)
    said.append("the load has gone")
    load[0] = 7.0
    pace.look()
    thread.join(60)
    assert said == ["the load has gone", "went on"]
    assert pace.paused_seconds > 0


@pytest.mark.parametrize("value", [None, 8.0])
def test_what_cannot_be_seen_or_is_just_enough_is_no_reason_to_wait(value: float | None) -> None:
    pace = Throttle(limits=[ThrottleLimit(name="lag", most=8.0, look=lambda: value)])
    pace.look()
    assert not pace.is_paused


def test_the_end_of_a_run_wakes_those_who_wait() -> None:
    pace = Throttle(
        bytes_per_second=1,
        limits=[ThrottleLimit(name="load", most=1, look=lambda: 2.0)],
        look_seconds=0.01,
    )
    with pace.kept():
        assert pace.is_paused
        waiting = threading.Thread(target=pace.spend, args=(1 << 40,))
        waiting.start()
        pace.end()
        waiting.join(60)
        assert not waiting.is_alive()
