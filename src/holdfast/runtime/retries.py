"""Waits between the attempts of an operation: they double, with a random share (stamina)."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stamina import Attempt


class First:
    """The first attempt, which keeps an error of type `on`; most need no other, and no library."""

    num = 1

    def __init__(self, on: type[Exception]) -> None:
        self._on = on
        self.failed: BaseException | None = None

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        is_kept = kind is not None and self._on in kind.__mro__
        self.failed = error if is_kept else None
        return is_kept


def attempts(
    *, on: type[Exception], most: int, first_wait_seconds: float, longest_wait_seconds: float
) -> Iterator[First | Attempt]:
    """A context manager for each attempt; after an error of type `on` the next one follows.

    The last error is raised.
    """
    first = First(on)
    yield first
    if first.failed is None:
        return
    # Imported here: loading it would slow down short commands.
    import stamina

    # The library would print a line of its own beside our log.
    stamina.instrumentation.set_on_retry_hooks(())
    for attempt in stamina.retry_context(
        on=on,
        attempts=most,
        timeout=None,
        wait_initial=first_wait_seconds,
        wait_max=longest_wait_seconds,
    ):
        if attempt.num > 1:
            yield attempt
            continue
        # The library counts the attempt that was made without it.
        with attempt:
            raise first.failed
