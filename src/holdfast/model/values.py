"""Types for values read from a store, each with its range: counts, texts, times."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Self

from holdfast.model.checked import Fits, Length, Range
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.lazy_pattern import regex

MOST = (1 << 63) - 1
LARGEST = 1e18
FIRST_YEAR, LAST_YEAR = 1970, 9998
Count = Annotated[int, Range(at_least=0, at_most=MOST)]
Number = Annotated[float, Range(at_least=-LARGEST, at_most=LARGEST)]
Line = Annotated[str, Length(at_most=4096)]
Text = Annotated[str, Length(at_most=1 << 20)]
Lines = Annotated[tuple[Text, ...], Length(at_most=10_000)]


def is_moment(at: datetime) -> bool:
    """Whether `at` can be compared with any other moment, and shown in any time zone."""
    return at.tzinfo is not None and FIRST_YEAR <= at.year <= LAST_YEAR


def tells_moment(text: str) -> bool:
    """Whether `text` is such a moment, as `isoformat` writes it."""
    try:
        return is_moment(datetime.fromisoformat(text))
    except ValueError:
        return False


Moment = Annotated[datetime, Fits(is_moment)]

# Eighteen digits exceed the bytes of any disk.
_WRITTEN = regex(r"([0-9]{1,18})-([0-9]{0,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The half-open range from `first` to `after`; None is the end, wherever that is."""

    first: int
    after: int | None = None

    def __str__(self) -> str:
        return f"{self.first}-{'' if self.after is None else self.after}"

    @property
    def span(self) -> Span:
        """The plain span as facts store it, without what a subclass adds."""
        return Span(first=self.first, after=self.after)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ValueError` for what `str` never wrote."""
        found = _WRITTEN.fullmatch(text)
        if found is None or (found[2] and int(found[2]) < int(found[1])):
            raise ValueError(f"'{text[:60]}' is not a range")
        return cls(first=int(found[1]), after=int(found[2]) if found[2] else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A break in a sequence of spans.

    `found` does not begin at `expected`, where the span before it ended (None at an open end). If
    `found` is None, the end itself is missing.
    """

    found: Span | None
    expected: int | None


def gap_in(spans: Iterable[Span]) -> Gap | None:
    """The first gap; None if the spans follow each other from 0 to an open end, in any order."""
    expected: int | None = 0
    for span in sorted(spans, key=lambda span: span.first):
        if expected is None or span.first != expected:
            return Gap(found=span, expected=expected)
        expected = span.after
    return None if expected is None else Gap(found=None, expected=expected)
