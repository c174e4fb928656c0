"""Ranges of one thing in several parts: of a table's pages, of a file's bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

# Eighteen digits are more bytes than a disk has.
_WRITTEN = re.compile(r"([0-9]{1,18})-([0-9]{0,18})")


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
        found = _WRITTEN.fullmatch(text)
        if found is None or (found[2] and int(found[2]) < int(found[1])):
            raise ValueError(f"'{text[:60]}' is no range")
        return cls(first=int(found[1]), after=int(found[2]) if found[2] else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """`found` is not where the span before it ended (`expected`, None at an open end); where
    `found` is None, the end itself is missing."""

    found: Span | None
    expected: int | None


def gap_in(spans: Iterable[Span]) -> Gap | None:
    """None where they follow each other from the first to an open end, in whatever order given."""
    expected: int | None = 0
    for span in sorted(spans, key=lambda span: span.first):
        if expected is None or span.first != expected:
            return Gap(found=span, expected=expected)
        expected = span.after
    return None if expected is None else Gap(found=None, expected=expected)
