"""A pipeline is a list of stages, read from top to bottom; some only observe the bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, Self

from holdfast.model.fingerprints import algorithm_of, digest, told

if TYPE_CHECKING:
    from holdfast.model.backup import Buffer


class CorruptStream(Exception):
    """A compressed or sealed stream is damaged or ends too early."""


class Stage(Protocol):
    """Takes buffers one by one, and returns buffers.

    A returned buffer must not alias a given one, unless it is that very buffer, passed on before
    the next one is requested.
    """

    def feed(self, chunk: Buffer) -> Iterable[Buffer]: ...

    def finish(self) -> Iterable[Buffer]: ...


def flow(chunks: Iterable[Buffer], stages: Sequence[Stage]) -> Iterator[Buffer]:
    """Pass `chunks` through all `stages`, with one buffer in memory at a time."""
    stream: Iterable[Buffer] = chunks
    for stage in stages:
        stream = _through(stream, stage)
    return iter(stream)


def _through(chunks: Iterable[Buffer], stage: Stage) -> Iterator[Buffer]:
    for chunk in chunks:
        yield from stage.feed(chunk)
    yield from stage.finish()


class Size:
    """Observes; `size_bytes` is the number of bytes so far."""

    def __init__(self, *, advance: Callable[[int], None] = lambda _: None) -> None:
        self._advance = advance
        self.size_bytes = 0

    def feed(self, chunk: Buffer) -> Iterable[Buffer]:
        size_bytes = len(chunk)
        self.size_bytes += size_bytes
        self._advance(size_bytes)
        return (chunk,)

    def finish(self) -> Iterable[Buffer]:
        return ()


class Fingerprint(Size):
    """As `Size`, with the fingerprint of the bytes so far by `algorithm`."""

    def __init__(self, algorithm: str, *, advance: Callable[[int], None] = lambda _: None) -> None:
        super().__init__(advance=advance)
        self.algorithm = algorithm
        self._digest = digest(algorithm)

    @classmethod
    def like(cls, fingerprint: str, *, advance: Callable[[int], None] = lambda _: None) -> Self:
        """By the algorithm of `fingerprint`, to compare with it."""
        return cls(algorithm_of(fingerprint), advance=advance)

    @property
    def fingerprint(self) -> str:
        """As manifests write it: `ALGORITHM:HEX`."""
        return told(self.algorithm, self._digest)

    def feed(self, chunk: Buffer) -> Iterable[Buffer]:
        self._digest.update(chunk)
        return super().feed(chunk)
