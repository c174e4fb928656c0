"""One stream into several repositories at once: each puts it, or fails, for itself."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from queue import Full, Queue

from holdfast.model.backup import Buffer
from holdfast.model.errors import HoldfastError
from holdfast.ports.repository import Repository, Stored
from holdfast.runtime.cleanup import afterwards

# Chunks that a slow store may be behind the fastest one; each is about a MiB at most.
CHUNKS_BEHIND = 4
SECONDS_BETWEEN_LOOKS = 0.1


class _SourceBroke(Exception):
    """What a store's put is ended with where the chunks broke off: not the store's trouble."""


class Put:
    """One store's put, in a thread of its own, fed from a queue that is never long."""

    def __init__(self, name: str, repository: Repository, key: str) -> None:
        self._repository = repository
        self.stored: Stored | None = None
        self.error: HoldfastError | None = None
        self.unforeseen: BaseException | None = None
        self._queue: Queue[bytes | _SourceBroke | None] = Queue(CHUNKS_BEHIND)
        self._thread = threading.Thread(target=self._run, args=(key,), name=f"put-{name}")
        self._thread.start()

    def give(self, chunk: bytes | _SourceBroke | None) -> None:
        """Wait for room; None is the end. Whoever has failed meanwhile takes nothing more."""
        while self._thread.is_alive():
            with suppress(Full):
                self._queue.put(chunk, timeout=SECONDS_BETWEEN_LOOKS)
                break

    @property
    def has_failed(self) -> bool:
        return self.error is not None or self.unforeseen is not None

    def join(self) -> None:
        self._thread.join()

    def _run(self, key: str) -> None:
        try:
            self.stored = self._repository.put(key, self._chunks())
        except _SourceBroke:
            pass
        except HoldfastError as error:
            self.error = error
        except BaseException as error:  # noqa: BLE001 - raised again by `feed` in the caller's thread
            self.unforeseen = error

    def _chunks(self) -> Iterator[bytes]:
        while (chunk := self._queue.get()) is not None:
            if isinstance(chunk, _SourceBroke):
                raise chunk
            yield chunk


def feed(chunks: Iterable[Buffer], puts: list[Put]) -> None:
    """Hand every chunk to each put; the source's own error ends all of them and is raised."""
    ending: _SourceBroke | None = _SourceBroke()

    def end() -> None:
        for put in puts:
            put.give(ending)
        for put in puts:
            put.join()

    with afterwards(end):
        for chunk in chunks:
            # The buffer may be used again as soon as the next one is asked for.
            copied = bytes(chunk)
            for put in puts:
                put.give(copied)
            if all(put.has_failed for put in puts):
                break
        ending = None
    for put in puts:
        if put.unforeseen is not None:
            raise put.unforeseen
