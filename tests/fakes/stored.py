"""Stored parts that come from wherever a test likes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from holdfast.model import Part
from holdfast.proven import OpenPart, Proven


class FakeStored:
    """Obeys `ports.StoredParts` for what `open_part` reads, which may raise while it is read."""

    def __init__(self, open_part: OpenPart) -> None:
        self.open_part = open_part

    def streamed(self, part: Part) -> AbstractContextManager[Iterator[bytes]]:
        return self.open_part(part)

    @contextmanager
    def proven(self, part: Part) -> Iterator[Proven]:
        with self.open_part(part) as chunks:
            found = list(chunks)
        yield Proven(lambda: iter(found))
