"""Ranges of one thing in several parts: of a table's pages, of a file's bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From `first` up to, without, `after`; None is the end, wherever that turns out to be."""

    first: int
    after: int | None = None

    def __str__(self) -> str:
        return f"{self.first}-{'' if self.after is None else self.after}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ValueError` for what `str` never wrote."""
        first, _, after = text.partition("-")
        return cls(first=int(first), after=int(after) if after else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tear:
    """`found` is not where the span before it ended (`expected`, None at an open end); where
    `found` is None, the end itself is missing."""

    found: Span | None
    expected: int | None


def tear_in(spans: Iterable[Span]) -> Tear | None:
    """None where they follow each other from the first to an open end, in whatever order given."""
    expected: int | None = 0
    for span in sorted(spans, key=lambda span: span.first):
        if expected is None or span.first != expected:
            return Tear(found=span, expected=expected)
        expected = span.after
    return None if expected is None else Tear(found=None, expected=expected)
