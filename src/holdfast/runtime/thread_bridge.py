"""A function that reads one file and writes another, worked a chunk at a time by its caller.

Libraries that want files on both sides know nothing of pipelines. The function runs in a thread of
its own, but never beside its caller: each waits while the other works, so that a chunk is neither
copied nor queued, and no more than one of them and what became of it is in memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Protocol, Self

from holdfast.model.backup import Buffer


class ReadsFrom(Protocol):
    """The file that the function reads."""

    def read(self, size: int, /) -> bytes: ...


class WritesTo(Protocol):
    """The file that the function writes."""

    def write(self, data: bytes, /) -> int: ...

    def flush(self) -> None: ...


class Abandoned(Exception):
    """Nobody will bring more: the block around the function was left."""


class ThreadBridge:
    """Obeys `pipeline.flow.Stage`; what `work` raises is raised by `feed` or `finish`.

    Leaving the block ends the thread, whatever it was waiting for.
    """

    def __init__(self, work: Callable[[ReadsFrom, WritesTo], None]) -> None:
        self._work = work
        self._thread: threading.Thread | None = None
        self._its_turn = threading.Semaphore(0)
        self._our_turn = threading.Semaphore(0)
        self._input = memoryview(b"")
        self._output: list[bytes] = []
        self._all_fed = self._abandoned = self._ended = False
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._abandoned = True
        if self._thread is not None:
            self._its_turn.release()
            self._thread.join()

    def feed(self, chunk: Buffer) -> Iterable[Buffer]:
        self._input = memoryview(chunk)
        return self._step()

    def finish(self) -> Iterable[Buffer]:
        self._all_fed = True
        return self._step()

    def read(self, size: int, /) -> bytes:
        """For the function: up to `size` bytes, none at the end."""
        # An empty chunk is not the end.
        while not self._input and not self._all_fed:
            self._our_turn.release()
            self._its_turn.acquire()
            if self._abandoned:
                raise Abandoned
        head, self._input = bytes(self._input[:size]), self._input[size:]
        return head

    def write(self, data: bytes, /) -> int:
        """For the function."""
        self._output.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """For the function: what it wrote is handed on without being asked."""

    def _step(self) -> Iterable[Buffer]:
        """Let the function work until it wants more than there is, or ends."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True, name="lockstep")
            self._thread.start()
            self._our_turn.acquire()
        elif not self._ended:
            self._its_turn.release()
            self._our_turn.acquire()
        if self._error is not None:
            raise self._error
        if self._ended and self._input:
            raise ValueError("the function ended before its input did")
        output, self._output = self._output, []
        return output

    def _run(self) -> None:
        try:
            self._work(self, self)
        except BaseException as error:  # noqa: BLE001 - raised again where our caller can see it
            self._error = error
        finally:
            self._ended = True
            self._our_turn.release()
