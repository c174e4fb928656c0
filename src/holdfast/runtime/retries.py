"""Waits between the attempts of an operation: they double, with a random share (stamina)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stamina import Attempt


def attempts(
    *, on: type[Exception], most: int, first_wait_seconds: float, longest_wait_seconds: float
) -> Iterable[Attempt]:
    """A context manager for each attempt; after an error of type `on` the next one follows.

    The last error is raised.
    """
    # Imported here: loading it would slow down short commands.
    import stamina

    # The library would print a line of its own beside our log.
    stamina.instrumentation.set_on_retry_hooks(())
    return stamina.retry_context(
        on=on,
        attempts=most,
        timeout=None,
        wait_initial=first_wait_seconds,
        wait_max=longest_wait_seconds,
    )
