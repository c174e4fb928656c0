"""Stored parts from any source that a test chooses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.model.backup import Part
from holdfast.model.restore import OpenPart, Proven
from holdfast.operations.parts.proof import Passing


class FakeStored:
    """Obeys `model.restore.StoredParts` with the bytes that `open_part` yields, or its errors."""

    def __init__(self, open_part: OpenPart) -> None:
        self.open_part = open_part

    @contextmanager
    def streamed(self, part: Part) -> Iterator[Passing]:
        with self.open_part(part) as chunks:
            yield Passing(chunk for chunk in chunks)

    @contextmanager
    def proven(self, part: Part) -> Iterator[Proven]:
        with self.open_part(part) as chunks:
            found = list(chunks)
        yield Proven(lambda: iter(found))
