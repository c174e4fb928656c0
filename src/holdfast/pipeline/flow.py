"""A pipeline is a list of stages, read top to bottom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from holdfast.model.backup import Buffer


class CorruptStream(Exception):
    """A compressed or sealed stream is damaged or ends too early."""


class Stage(Protocol):
    """Takes buffers one by one; what it returns must not alias a buffer that it was given
    unless it is that very buffer, passed on before the next one is asked for."""

    def feed(self, chunk: Buffer) -> Iterable[Buffer]: ...

    def finish(self) -> Iterable[Buffer]: ...


def flow(chunks: Iterable[Buffer], stages: Sequence[Stage]) -> Iterator[Buffer]:
    """`chunks` through all `stages`, one buffer in memory at a time."""
    stream: Iterable[Buffer] = chunks
    for stage in stages:
        stream = _through(stream, stage)
    return iter(stream)


def _through(chunks: Iterable[Buffer], stage: Stage) -> Iterator[Buffer]:
    for chunk in chunks:
        yield from stage.feed(chunk)
    yield from stage.finish()
