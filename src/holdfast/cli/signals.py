"""Signals that end a run: the first one is an error in the main thread, later ones are ignored."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from holdfast.model.errors import Interrupted
from holdfast.runtime.cleanup import afterwards

# A closed terminal must not leave a half-cleaned run behind either.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside the block a signal raises `Interrupted` once, so that clean-up runs undisturbed.

    Later signals meet a handler that does nothing, not SIG_IGN: children would inherit that,
    and could then not be ended themselves.
    """
    # What our parent had ignored (nohup, a shell's background job) stays ignored.
    handlers = {number: signal.getsignal(number) for number in ENDING}
    before = {number: each for number, each in handlers.items() if each is not signal.SIG_IGN}

    def raise_once(number: int, _frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, _already_ending)
        name = signal.Signals(number).name
        raise Interrupted(
            f"cannot go on: interrupted by {name}",
            hint="start it again when ready",
        )

    for number in before:
        signal.signal(number, raise_once)
    with afterwards(_restore, before):
        yield


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _already_ending(_number: int, _frame: FrameType | None) -> None:
    """The first signal is being obeyed."""
