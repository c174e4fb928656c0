"""Something that is done every now and then beside a block of code, and never after it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holdfast.runtime.cleanup import afterwards


@contextmanager
def periodically(
    act: Callable[[], bool | None], *, pause: Callable[[], float], name: str
) -> Iterator[None]:
    """Call `act` in a thread of its own until the block ends or it returns True.

    `pause` gives the seconds before each call. What `act` is at when the block ends is waited for.
    """
    over = threading.Event()

    def tick() -> None:
        while not over.wait(pause()):
            if act():
                return

    ticker = threading.Thread(target=tick, name=name, daemon=True)
    ticker.start()
    with afterwards(ticker.join), afterwards(over.set):
        yield
