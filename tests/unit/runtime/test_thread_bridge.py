"""A function between two files as a stage, whose errors reach the stage before it."""

from __future__ import annotations

import threading

import pytest

from holdfast.model.errors import TasksRefused
from holdfast.runtime.thread_bridge import ReadsFrom, ThreadBridge, WritesTo
from tests.support.threads import refuse_threads


def upper(source: ReadsFrom, sink: WritesTo) -> None:
    while chunk := source.read(3):
        sink.write(chunk.upper())
    sink.write(b".")


def test_what_is_fed_comes_out_before_the_next_is_asked_for() -> None:
    with ThreadBridge(upper) as stage:
        assert b"".join(bytes(each) for each in stage.feed(b"abcd")) == b"ABCD"
        assert b"".join(bytes(each) for each in stage.feed(b"ef")) == b"EF"
        assert list(stage.finish()) == [b"."]


def test_a_stream_of_nothing_has_an_end_too() -> None:
    with ThreadBridge(upper) as stage:
        assert list(stage.finish()) == [b"."]


def test_an_error_of_the_function_is_raised_where_it_is_fed() -> None:
    def fail(source: ReadsFrom, sink: WritesTo) -> None:
        source.read(1)
        raise ValueError("no such letter")

    with ThreadBridge(fail) as stage, pytest.raises(ValueError, match="no such letter"):
        stage.feed(b"abc")


def test_what_a_function_leaves_unread_is_an_error_and_not_lost() -> None:
    def read_little(source: ReadsFrom, sink: WritesTo) -> None:
        source.read(1)

    with (
        ThreadBridge(read_little) as stage,
        pytest.raises(ValueError, match="ended before its input"),
    ):
        stage.feed(b"abc")


def test_the_function_never_works_beside_its_caller() -> None:
    working = threading.Event()
    seen: list[bool] = []

    def watched(source: ReadsFrom, sink: WritesTo) -> None:
        working.set()
        while source.read(1):
            sink.write(b"x")
        working.clear()

    class Watching(ThreadBridge):
        def read(self, size: int, /) -> bytes:
            working.clear()
            chunk = super().read(size)
            working.set()
            return chunk

    with Watching(watched) as stage:
        for _ in range(50):
            stage.feed(b"abc")
            seen.append(working.is_set())
    assert seen == [False] * 50


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    with ThreadBridge(upper) as stage:
        stage.feed(b"abc")
    assert threading.active_count() == before


def test_a_thread_that_the_host_refuses_is_the_error_that_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse_threads(monkeypatch, "lockstep")
    with pytest.raises(TasksRefused, match="'lockstep'"), ThreadBridge(upper) as stage:
        stage.feed(b"abc")
