"""Threads that end together."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from holdfast.model.errors import BackupFailed, Interrupted, SnapshotLost, TasksRefused
from holdfast.runtime.thread_bridge import ReadsFrom, ThreadBridge, WritesTo
from holdfast.runtime.worker_pool import AdaptiveLimit, WorkerPool
from tests.support.events import capture_logs
from tests.support.threads import refuse_threads, threads_named
from tests.support.waiting import until

WAIT_SECONDS = 60.0


def test_results_come_in_the_order_of_the_items() -> None:
    second_done = threading.Event()

    def work(item: int) -> int:
        if item == 1:
            assert second_done.wait(WAIT_SECONDS)
        if item == 2:
            second_done.set()
        return item * 10

    assert WorkerPool(2).map([1, 2, 3], work) == [10, 20, 30]


def test_no_items_is_no_work() -> None:
    assert WorkerPool(4).map([], lambda item: item) == []


def test_never_more_than_the_given_number_work_at_once() -> None:
    lock, at_once, peak = threading.Lock(), 0, 0
    both_in = threading.Barrier(2)

    def work(item: int) -> None:
        nonlocal at_once, peak
        with lock:
            at_once += 1
            peak = max(peak, at_once)
        both_in.wait(WAIT_SECONDS)
        with lock:
            at_once -= 1

    WorkerPool(2).map(range(10), work)
    assert peak == 2


def test_items_are_taken_only_when_a_slot_is_free() -> None:
    taken: list[int] = []
    finished: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            assert len(taken) - len(finished) <= 3
            yield number

    WorkerPool(3).map(items(), finished.append)
    assert len(finished) == 100


def test_the_first_error_outranks_those_that_the_abort_induces() -> None:
    aborted = threading.Event()
    both_in = threading.Barrier(2)

    def work(item: str) -> None:
        both_in.wait(WAIT_SECONDS)
        if item == "cause":
            raise BackupFailed("cannot back up 'public.orders': disk error")
        assert aborted.wait(WAIT_SECONDS)
        raise SnapshotLost("cannot read 'public.lines': the session is gone")

    with pytest.raises(BackupFailed, match=r"public\.orders"):
        WorkerPool(2, abort=aborted.set).map(["consequence", "cause"], work)
    assert threads_named("slot-") == []


def test_after_an_error_no_new_item_is_begun_and_abort_is_called_once() -> None:
    begun: list[int] = []
    aborts: list[bool] = []

    def work(item: int) -> None:
        begun.append(item)
        raise BackupFailed(f"cannot back up '{item}'")

    with pytest.raises(BackupFailed):
        WorkerPool(1, abort=lambda: aborts.append(True)).map(range(100), work)
    assert begun == [0]
    assert aborts == [True]


def test_an_error_of_the_items_themselves_is_an_error_of_the_run() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise BackupFailed("cannot list the parts")

    aborted = threading.Event()
    with pytest.raises(BackupFailed, match="cannot list"):
        WorkerPool(2, abort=aborted.set).map(items(), lambda item: item)
    assert aborted.is_set()


def test_few_items_need_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    both_work = threading.Barrier(2)
    # The third one finds that no item is left.
    refuse_threads(monkeypatch, r"slot-([4-9]|\d\d)")
    with capture_logs() as logs:
        WorkerPool(50).each(iter([1, 2]), lambda _: both_work.wait(WAIT_SECONDS))
    assert logs == []


def test_an_error_ends_the_work_while_the_next_item_is_still_on_its_way() -> None:
    asked, aborted = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        yield 1
        asked.set()
        assert aborted.wait(WAIT_SECONDS)
        yield 2

    def work(item: int) -> None:
        begun.append(item)
        assert asked.wait(WAIT_SECONDS)
        raise SnapshotLost("cannot read")

    begun: list[int] = []
    with pytest.raises(SnapshotLost):
        WorkerPool(2, abort=aborted.set).each(items(), work)
    assert begun == [1]


def test_an_item_whose_own_thread_was_refused_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def upper(source: ReadsFrom, sink: WritesTo) -> None:
        sink.write(source.read(9).upper())

    def work(item: bytes) -> bytes:
        try:
            with ThreadBridge(upper) as stage:
                return b"".join(bytes(each) for each in [*stage.feed(item), *stage.finish()])
        finally:
            monkeypatch.undo()

    refuse_threads(monkeypatch, "lockstep")
    assert WorkerPool(1).map([b"a"], work) == [b"A"]


def test_items_that_end_in_an_interruption_end_the_run() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise Interrupted("cannot continue: SIGTERM")

    with pytest.raises(Interrupted):
        WorkerPool(1).each(items(), lambda item: item)


def test_an_interruption_while_the_work_is_being_ended_leaves_no_work_behind() -> None:
    ended, went_on = threading.Event(), threading.Event()

    def refuse(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted("cannot continue: SIGTERM")

    def abort() -> None:
        ended.set()
        signal.raise_signal(signal.SIGTERM)

    def work(_item: int) -> None:
        signal.raise_signal(signal.SIGTERM)
        assert ended.wait(WAIT_SECONDS)
        went_on.set()

    before = signal.signal(signal.SIGTERM, refuse)
    try:
        with pytest.raises(Interrupted):
            WorkerPool(1, abort=abort).each([1], work)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert went_on.is_set()
    assert threads_named("slot-") == []


def test_ctrl_c_ends_the_work_and_is_an_interruption() -> None:
    aborted = threading.Event()

    def work(item: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        assert aborted.wait(WAIT_SECONDS)

    # A shell without job control lets its background jobs ignore Ctrl-C, and we inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(Interrupted):
            WorkerPool(2, abort=aborted.set).map([1, 2], work)
    finally:
        signal.signal(signal.SIGINT, before)
    assert threads_named("slot-") == []


def test_an_error_raised_by_a_signal_handler_is_the_cause() -> None:
    aborted = threading.Event()

    def refuse(number: int, frame: FrameType | None) -> None:
        raise Interrupted("cannot continue: SIGTERM")

    def work(item: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        assert aborted.wait(WAIT_SECONDS)
        raise SnapshotLost("cannot read: aborted")

    before = signal.signal(signal.SIGTERM, refuse)
    try:
        with pytest.raises(Interrupted, match="SIGTERM"):
            WorkerPool(1, abort=aborted.set).map([1], work)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert threads_named("slot-") == []


def test_an_item_that_was_refused_a_task_is_tried_again_with_half_as_many() -> None:
    refused: set[int] = set()
    room = AdaptiveLimit(4)

    def work(item: int) -> int:
        if item == 2 and item not in refused:
            refused.add(item)
            raise TasksRefused("cannot start 'gzip': the kernel refused another process or thread")
        return item * 10

    assert WorkerPool(4, limit=room).map(range(5), work) == [0, 10, 20, 30, 40]
    assert room.allowed(working=0) == 2


def test_a_host_that_refuses_everything_is_believed_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("holdfast.runtime.worker_pool.MOST_TRIES", 2)

    def work(item: int) -> None:
        raise TasksRefused(f"cannot start 'gzip' for {item}")

    with pytest.raises(TasksRefused, match="cannot start 'gzip' for 1"):
        WorkerPool(2).map([1], work)
    assert threads_named("slot-") == []


def test_where_the_host_gives_few_threads_these_do_all_the_work_and_it_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse_threads(monkeypatch, "slot-[3-5]")

    def work(item: int) -> int:
        # A third thread is wanted only while both others have an item.
        if item < 2:
            until(lambda: bool(logs))
        return item * 10

    with capture_logs() as logs:
        assert WorkerPool(5).map(range(20), work) == list(range(0, 200, 10))
    told = [each["then"] for each in logs if each["event"] == "thread_refused"]
    assert told == ["2 of 5 workers do the work"]
    assert threads_named("slot-") == []


def test_where_the_host_gives_no_thread_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_threads(monkeypatch, "slot-.")
    begun: list[int] = []
    with pytest.raises(TasksRefused, match="cannot start: the kernel refused") as caught:
        WorkerPool(3).each(range(5), begun.append)
    assert "TasksMax=" in caught.value.hint
    assert begun == []


def test_what_must_not_be_begun_twice_is_not_tried_again() -> None:
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        raise TasksRefused("cannot start 'psql': the kernel refused another process or thread")

    with pytest.raises(TasksRefused, match="psql"):
        WorkerPool(1, tries=1).each(range(3), work)
    assert begun == [0]


def test_an_abort_that_fails_is_a_note_and_leaves_nobody_waiting() -> None:
    def abort() -> None:
        raise BackupFailed("cannot end the client")

    def work(item: int) -> None:
        raise SnapshotLost(f"cannot read {item}")

    with pytest.raises(SnapshotLost, match="cannot read 0") as caught:
        WorkerPool(1, abort=abort).each(range(3), work)
    assert caught.value.__notes__ == ["the clean-up failed as well: cannot end the client"]
    assert threads_named("slot-") == []


def test_no_more_work_at_once_than_the_host_has_room_for_now() -> None:
    lock, at_once, peak = threading.Lock(), 0, 0

    def work(_: int) -> None:
        nonlocal at_once, peak
        with lock:
            at_once += 1
            peak = max(peak, at_once)
        threading.Event().wait(0.001)
        with lock:
            at_once -= 1

    room = AdaptiveLimit(6, look=lambda _working, _threads: 1)
    WorkerPool(6, limit=room).map(range(30), work)
    assert peak == 1


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


def test_a_signal_that_another_thread_was_given_ends_the_work_too() -> None:
    aborted, ours = threading.Event(), threading.get_ident()

    def is_waiting() -> bool:
        frame = sys._current_frames()[ours]
        return frame.f_back is not None and frame.f_back.f_code.co_name == "wait_for"

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted("interrupted")

    def work(_item: int) -> None:
        until(is_waiting)
        # The kernel may choose any thread that does not block the signal, such as this one.
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        assert aborted.wait(WAIT_SECONDS)

    before = signal.signal(signal.SIGUSR1, interrupted)
    try:
        with pytest.raises(Interrupted):
            WorkerPool(1, abort=aborted.set).each([1], work)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert aborted.is_set()
