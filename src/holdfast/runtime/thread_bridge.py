"""Run a function that reads one file and writes another as a pipeline stage, chunk by chunk.

Some libraries want a file on both sides and know no pipelines. The function runs in its own thread,
but never at the same time as its caller: each waits while the other works. So no chunk is copied or
queued, and at most one chunk and its output are in memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from holdfast.runtime.kernel import start

if TYPE_CHECKING:
    from holdfast.model.backup import Buffer


class ReadsFrom(Protocol):
    """The file that the function reads."""

    def read(self, size: int, /) -> bytes: ...


class WritesTo(Protocol):
    """The file that the function writes."""

    def write(self, data: bytes, /) -> int: ...

    def flush(self) -> None: ...


class Abandoned(Exception):
    """The block around the function was left, so no more input will come."""


class ThreadBridge:
    """Obeys `pipeline.flow.Stage`; what `work` raises is raised by `feed` or `finish`.

    Leaving the block ends the thread, even if it waits for input.
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
        """Called by the function: up to `size` bytes, none at the end of the input."""
        # An empty chunk does not mean the end of the input.
        while not self._input and not self._all_fed:
            self._our_turn.release()
            self._its_turn.acquire()
            if self._abandoned:
                raise Abandoned
        head, self._input = bytes(self._input[:size]), self._input[size:]
        return head

    def write(self, data: bytes, /) -> int:
        """Called by the function: keeps `data` until the caller takes it."""
        self._output.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Called by the function; does nothing, as output is passed on anyway."""

    def _step(self) -> Iterable[Buffer]:
        """Let the function work until it needs more input, or ends."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, daemon=True, name="lockstep")
            # A refused thread is not joined: the refusal stays the error.
            start(thread)
            self._thread = thread
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
