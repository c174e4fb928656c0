"""Small pictures in the table: a strip of the last days, and lines of sizes and durations.

They are paths of SVG in a box of 120 by 20, made of whole numbers only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.model.host_status import Day
from holdfast.model.lazy_dataclass import dataclass

HEIGHT, STEP, WIDTH = 20, 4, 3
# A byte is more, and a backup takes longer than a millisecond.
LEAST = 0.001
# Not by colour alone: a failed day is the tallest, a good one shorter, one without a backup a dot.
TOPS = {"bad": 0, "mixed": 4, "good": 8, "none": 17}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Paths, and the words for those who do not see them; a line is empty without two points."""

    strip: Sequence[tuple[str, str]]
    strip_words: str
    stored: str
    took: str


def pictures_of(days: Sequence[Day], index: Mapping[str, int]) -> Pictures:
    """The pictures of the days that have a place in `index`."""
    placed = [(index[each.day], each) for each in days if each.day in index]
    kinds = ["none"] * len(index)
    for place, day in placed:
        kinds[place] = kind_of(day)
    return Pictures(
        strip=[
            (kind, "".join(_bar(place, top) for place, found in enumerate(kinds) if found == kind))
            for kind, top in TOPS.items()
            if kind in kinds
        ],
        strip_words=_words(kinds),
        stored=line([(place, day.stored_bytes) for place, day in placed if day.stored_bytes]),
        took=line([(place, day.seconds) for place, day in placed if day.stored_bytes]),
    )


def kind_of(day: Day) -> str:
    """How the day was: a run that failed, although another one ended well, is told."""
    if day.outcome == "failed":
        return "bad"
    return "mixed" if day.failed or day.outcome == "warning" else "good"


def _bar(place: int, top: int) -> str:
    return f"M{place * STEP} {top}h{WIDTH}V{HEIGHT}h-{WIDTH}z"


def _words(kinds: Sequence[str]) -> str:
    names = {"good": "good", "mixed": "with warnings", "bad": "failed", "none": "without a backup"}
    counts = [f"{kinds.count(kind)} {name}" for kind, name in names.items() if kind in kinds]
    return f"last {len(kinds)} days: {', '.join(counts)}"


def line(points: Sequence[tuple[int, float]]) -> str:
    """A line through the points, from the least value at the bottom to the largest at the top.

    Small changes stay small: the height is a quarter of the largest value, or more.
    """
    values = [value for _, value in points]
    largest = max(values, default=0)
    # A stored number may be so close to 0 that a part of it is 0.
    if len(points) < 2 or largest < LEAST:
        return ""
    least = max(0, min(*values, largest * 0.75))
    scale = (HEIGHT - 2) / (largest - least)
    return "M" + "L".join(
        f"{place * STEP + 2} {HEIGHT - 1 - round(max(0, value - least) * scale)}"
        for place, value in points
    )
