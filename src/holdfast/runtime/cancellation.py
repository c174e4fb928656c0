"""What has to be ended when a run is: registered while it works, from any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holdfast.model.errors import BackupFailed
from holdfast.runtime.cleanup import afterwards


class Cancellation:
    """Everything under way, and whether all of it was told to end."""

    def __init__(self) -> None:
        self.aborted = threading.Event()
        self._lock = threading.Lock()
        self._under_way: dict[object, Callable[[], None]] = {}

    @contextmanager
    def registered(self, end: Callable[[], None]) -> Iterator[None]:
        """`end` is called from another thread if `abort` comes before the block is left."""
        token = object()
        with self._lock:
            if self.aborted.is_set():
                raise BackupFailed("cannot begin another read: the run was ended")
            self._under_way[token] = end
        with afterwards(self._forget, token):
            yield

    def _forget(self, token: object) -> None:
        with self._lock:
            del self._under_way[token]

    def abort(self) -> None:
        """End everything; more than once is no harm, and one that fails does not spare the rest."""
        with self._lock:
            self.aborted.set()
            ends = list(self._under_way.values())
        for end in ends:
            try:
                end()
            except Exception:  # noqa: BLE001, S112  # its owner closes it anyway, and sees why
                continue
