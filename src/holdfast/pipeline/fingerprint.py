"""SHA-256 and size of what passes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from holdfast.model import Buffer


class Fingerprint:
    """Observes; `size_bytes` and `sha256` are those of everything that has passed so far."""

    def __init__(self, *, advance: Callable[[int], None] = lambda _: None) -> None:
        self._digest = hashlib.sha256()
        self._advance = advance
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def feed(self, chunk: Buffer) -> Iterable[Buffer]:
        self._digest.update(chunk)
        size_bytes = len(chunk)
        self.size_bytes += size_bytes
        self._advance(size_bytes)
        return (chunk,)

    def finish(self) -> Iterable[Buffer]:
        return ()
