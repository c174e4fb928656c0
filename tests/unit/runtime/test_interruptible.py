"""What waits in the main thread is ended from another one, and nothing else is."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from holdfast.runtime.interruptible import SIGNAL, Ended, endable, waiting_for


def soon(act: Callable[[], object]) -> threading.Thread:
    thread = threading.Timer(0.05, act)
    thread.start()
    return thread


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
        waiting_for("waiting for lock on table 'orders'")
        thread = soon(end)
        with pytest.raises(Ended, match="waiting for lock on table 'orders'"):
            wait()
    thread.join()


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


def test_a_signal_that_our_parent_has_blocked_reaches_us_all_the_same() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {SIGNAL})
    with endable() as end:
        thread = soon(end)
        with pytest.raises(Ended):
            threading.Event().wait(60)
    thread.join()


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
