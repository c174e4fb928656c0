"""SHA-256 and size of what passes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from holdfast.model.backup import Buffer


class Size:
    """Observes; `size_bytes` is that of everything that has passed so far."""

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
    """The same with `sha256`, in hex."""

    def __init__(self, *, advance: Callable[[int], None] = lambda _: None) -> None:
        super().__init__(advance=advance)
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def feed(self, chunk: Buffer) -> Iterable[Buffer]:
        self._digest.update(chunk)
        return super().feed(chunk)
