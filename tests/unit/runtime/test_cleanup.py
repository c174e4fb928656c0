"""A failed clean-up never replaces the cause, and is reported too."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from holdfast.model.errors import (
    BackupFailed,
    Interrupted,
    RepositoryReadOnly,
    RepositoryUnreachable,
)
from holdfast.runtime.cleanup import (
    SIGNAL,
    Cancellation,
    Ended,
    afterwards,
    endable,
    noted_on,
    notes_of,
    on_failure,
    periodically,
    waiting_for,
)
from tests.support.waiting import until

Way = Callable[..., AbstractContextManager[None]]


def fail(error: BaseException) -> None:
    raise error


@contextmanager
def in_a_handler(step: Callable[..., object], *arguments: object) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        with noted_on(error):
            step(*arguments)
        raise


WAYS = [afterwards, on_failure, in_a_handler]


@pytest.mark.parametrize("way", WAYS)
def test_the_cause_is_raised_and_tells_of_what_failed_after_it(way: Way) -> None:
    cause, fault = BackupFailed("cannot read"), OSError("no such descriptor")
    with pytest.raises(BackupFailed) as caught, way(fail, fault):
        raise cause
    assert caught.value is cause
    assert notes_of(cause) == ["the clean-up failed as well: no such descriptor"]


@pytest.mark.parametrize("way", WAYS)
def test_a_signal_that_comes_during_clean_up_is_obeyed(way: Way) -> None:
    with pytest.raises(Interrupted), way(fail, Interrupted("SIGTERM")):
        raise BackupFailed("cannot read")


@pytest.mark.parametrize("way", WAYS)
def test_a_consequence_of_the_cause_is_not_told_twice(way: Way) -> None:
    with (
        pytest.raises(RepositoryReadOnly) as caught,
        way(fail, RepositoryReadOnly("cannot delete")),
    ):
        raise RepositoryReadOnly("cannot store")
    assert caught.value.message == "cannot store"
    assert notes_of(caught.value) == []


def test_without_a_cause_the_clean_up_is_one_itself() -> None:
    with pytest.raises(RepositoryUnreachable), afterwards(fail, RepositoryUnreachable("gone")):
        pass


def test_nothing_is_cleaned_up_after_success_where_only_failure_is_asked_for() -> None:
    with on_failure(fail, AssertionError("called")):
        pass


def test_a_generator_that_is_left_early_does_not_swallow_what_goes_wrong() -> None:
    def numbers() -> Generator[int]:
        with afterwards(fail, RepositoryUnreachable("gone")):
            yield from range(9)

    generator = numbers()
    next(generator)
    with pytest.raises(RepositoryUnreachable):
        generator.close()


def test_every_step_is_taken_whatever_becomes_of_the_others() -> None:
    taken: list[str] = []
    with (
        pytest.raises(BackupFailed) as caught,
        afterwards(taken.append, "last"),
        afterwards(fail, OSError("second")),
        afterwards(fail, OSError("first")),
    ):
        raise BackupFailed("cause")
    assert taken == ["last"]
    assert [note.rpartition(" ")[2] for note in notes_of(caught.value)] == ["first", "second"]


def translated() -> None:
    try:
        with afterwards(fail, OSError("close failed")):
            raise ValueError("cause")
    except ValueError as error:
        raise BackupFailed("translated") from error


def test_notes_are_found_on_what_an_error_was_raised_from() -> None:
    with pytest.raises(BackupFailed) as caught:
        translated()
    assert notes_of(caught.value) == ["the clean-up failed as well: close failed"]


def test_everything_under_way_is_ended_even_if_one_refuses() -> None:
    endings, ended = Cancellation(), list[str]()

    def refuse() -> None:
        ended.append("refused")
        raise OSError("gone already")

    with endings.registered(refuse), endings.registered(lambda: ended.append("second")):
        endings.abort()
    assert ended == ["refused", "second"]


def test_everything_under_way_is_ended_even_if_one_is_interrupted() -> None:
    endings, ended = Cancellation(), list[str]()
    with (
        pytest.raises(Interrupted),
        endings.registered(lambda: fail(Interrupted("SIGTERM"))),
        endings.registered(lambda: ended.append("second")),
    ):
        endings.abort()
    assert ended == ["second"]


def test_what_is_done_is_not_ended_again() -> None:
    endings, ended = Cancellation(), list[str]()
    with endings.registered(lambda: ended.append("x")):
        pass
    endings.abort()
    assert ended == []


def test_nothing_begins_after_the_end() -> None:
    endings = Cancellation()
    endings.abort()
    with pytest.raises(BackupFailed, match="the run was ended"), endings.registered(endings.abort):
        pass


def ended_while(wait: Callable[[], object], end: Callable[[], object]) -> None:
    """Once it waits; an earlier end would be reported too."""
    thread = threading.Timer(0.05, end)
    thread.start()
    try:
        wait()
    finally:
        thread.join()


def in_a_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.recv(1)


def in_a_child() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        try:
            child.wait()
        finally:
            child.kill()


@pytest.mark.parametrize("wait", [in_a_socket, in_a_child, lambda: threading.Event().wait(60)])
def test_whatever_waits_is_ended_and_says_what_for(wait: Callable[[], None]) -> None:
    with endable() as end:
        waiting_for("waiting for a lock on table 'orders'")
        with pytest.raises(Ended, match="waiting for a lock on table 'orders'"):
            ended_while(wait, end)


def test_after_the_block_nobody_is_ended_and_the_signal_means_what_it_did() -> None:
    before = signal.getsignal(SIGNAL)
    with endable() as end:
        pass
    # Late by the time between two lines: the handler of before is what counts.
    seen: list[int] = []
    signal.signal(SIGNAL, lambda number, _frame: seen.append(number))
    try:
        end()
        assert seen == [SIGNAL]
    finally:
        signal.signal(SIGNAL, before)


def test_an_end_that_comes_late_ends_neither_the_rest_nor_the_process() -> None:
    before = signal.signal(SIGNAL, signal.SIG_DFL)
    try:
        with endable() as end:
            pass
        end()
        signal.raise_signal(SIGNAL)
    finally:
        signal.signal(SIGNAL, before)


def test_a_signal_that_somebody_else_sent_ends_nothing() -> None:
    with endable():
        signal.raise_signal(SIGNAL)


def test_a_signal_that_our_parent_has_blocked_reaches_us_nevertheless() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {SIGNAL})
    with endable() as end, pytest.raises(Ended):
        ended_while(lambda: threading.Event().wait(60), end)


def test_in_other_threads_the_block_ends_by_itself() -> None:
    told: list[str] = []

    def work() -> None:
        with endable() as end:
            end()
            told.append("went on")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == ["went on"]


def threads(name: str) -> int:
    return sum(each.name == name for each in threading.enumerate())


def test_it_is_done_again_and_again_and_not_after_the_block() -> None:
    said: list[str] = []
    is_third, leaving = threading.Event(), threading.Event()

    def act() -> None:
        said.append("begun")
        if said.count("begun") == 3:
            is_third.set()
            leaving.wait(60)
        said.append("done")

    with periodically(act, pause=lambda: 0.001, name="again"):
        assert is_third.wait(60)
        leaving.set()
    said.append("left")
    assert threads("again") == 0
    assert said[:4] == ["begun", "done"] * 2
    assert said[-2:] == ["done", "left"], "what it is at is waited for"


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
