"""Which WAL exists, what is missing, and what a backup needs: pure arithmetic on numbers.

Segments are counted from a cluster's first, and all its timelines share the count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from holdfast.model.lazy_dataclass import dataclass, field, replace
from holdfast.model.wal import Position, numbered_name
from holdfast.model.wal_archive import Switch


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Segments of one timeline from `first` to `last`, both included."""

    timeline: int
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The archived segments of one timeline, and the switches in its history."""

    number: int
    segments: frozenset[int] = frozenset()
    switches: tuple[Switch, ...] = ()
    stored_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterWal:
    """All archived WAL of one cluster, its timelines by number."""

    cluster: str
    segment_bytes: int
    timelines: dict[int, Timeline] = field(default_factory=dict)

    def name(self, timeline: int, number: int) -> str:
        return numbered_name(timeline, number, segment_bytes=self.segment_bytes)

    def segment_at(self, lsn: str) -> int:
        return Position.parse(lsn).segment(self.segment_bytes)

    def gaps(self, timeline: int) -> list[Stretch]:
        """The missing segments of a timeline, up to the points where others branch off."""
        found = self.timelines[timeline]
        ends = [self.segment_at(at) - 1 for at in self._branches(timeline)]
        starts = [self.segment_at(each.at) for each in found.switches[-1:]]
        wanted = [*found.segments, *(end for end in ends if found.segments), *starts]
        if not wanted or not found.segments:
            return []
        whole = Stretch(timeline=timeline, first=min(wanted), last=max(wanted))
        return list(missing([whole], {timeline: runs(found.segments)}))

    def needed_after(self, timeline: int, lsn: str) -> list[Stretch]:
        """The segments that a backup starting at `lsn` needs to reach the end of later timelines.

        The end is the last archived segment of each timeline that continues from the backup's.
        """
        start = self.segment_at(lsn)
        found = [self.path(timeline, start, end) for end in self.ends_after(timeline, lsn)]
        return sorted({each for path in found for each in path}, key=lambda each: each.first)

    def path(self, timeline: int, start: int, end: int) -> list[Stretch]:
        """From segment `start` of `timeline` to the last archived segment of timeline `end`."""
        line = self.timelines[end]
        steps = [*((each.timeline, self.segment_at(each.at)) for each in line.switches)]
        steps = steps[[each for each, _ in steps].index(timeline) :] if end != timeline else []
        path: list[Stretch] = []
        for number, left_at in steps:
            path.append(Stretch(timeline=number, first=start, last=left_at - 1))
            start = left_at
        path.append(Stretch(timeline=end, first=start, last=max(line.segments, default=start)))
        # A history file may claim anything, also that a timeline was left before it began.
        return [each for each in path if each.first <= each.last]

    def ends_after(self, timeline: int, lsn: str) -> Iterator[int]:
        """The timelines that continue from position `lsn` of `timeline`, itself included."""
        for number, line in self.timelines.items():
            if number == timeline and line.segments:
                yield number
            for switch in line.switches:
                if switch.timeline == timeline and Position.parse(switch.at) >= Position.parse(lsn):
                    yield number

    def is_contained(self, timeline: int, others: Sequence[int]) -> bool:
        """Whether a later one of the timelines `others` holds all the WAL that `timeline` has."""
        last = max(self.timelines[timeline].segments, default=-1)
        return any(
            switch.timeline == timeline and last < self.segment_at(switch.at)
            for other in others
            if other > timeline
            for switch in self.timelines[other].switches
        )

    def archived_of(self, path: Iterable[Stretch]) -> list[tuple[int, int]]:
        """The archived segments of `path` in its order, each as timeline and number.

        Works on the archived ones: a manifest may say anything of how far its own WAL reaches.
        """
        return [
            (each.timeline, number)
            for each in path
            if each.timeline in self.timelines
            for number in sorted(self.timelines[each.timeline].segments)
            if each.first <= number <= each.last
        ]

    def _branches(self, timeline: int) -> Iterator[str]:
        for line in self.timelines.values():
            for switch in line.switches:
                if switch.timeline == timeline:
                    yield switch.at


def missing(wanted: Iterable[Stretch], there: Mapping[int, Iterable[range]]) -> Iterator[Stretch]:
    """The segments of `wanted` that are not `there`, by timeline; each one appears once.

    It works on bounds alone: names are not trusted, and two of them may have millions of segments
    between them.
    """
    asked: defaultdict[int, list[range]] = defaultdict(list)
    for each in wanted:
        asked[each.timeline].append(range(each.first, each.last + 1))
    for timeline, ranges in sorted(asked.items()):
        for gap in _without(_joined(ranges), _joined(there.get(timeline, ()))):
            yield Stretch(timeline=timeline, first=gap.start, last=gap.stop - 1)


def up_to_gap(
    path: Iterable[Stretch], gaps: Iterable[Stretch]
) -> tuple[list[Stretch], Stretch | None]:
    """`path` up to the first of the `gaps` in it, and that one."""
    first: dict[int, Stretch] = {}
    for each in gaps:
        first.setdefault(each.timeline, each)
    whole: list[Stretch] = []
    for each in path:
        gap = first.get(each.timeline)
        if gap is None:
            whole.append(each)
            continue
        if gap.first > each.first:
            whole.append(replace(each, last=gap.first - 1))
        return whole, gap
    return whole, None


def runs(numbers: Iterable[int]) -> list[range]:
    """Turn numbers into ranges without holes."""
    return _joined(range(number, number + 1) for number in numbers)


def _joined(ranges: Iterable[range]) -> list[range]:
    """Sort the ranges and merge those that touch or overlap."""
    found: list[range] = []
    for each in sorted(ranges, key=lambda each: each.start):
        if found and each.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, each.stop))
        elif each:
            found.append(each)
    return found


def _without(wanted: Iterable[range], held: Sequence[range]) -> Iterator[range]:
    """Subtract `held` from `wanted`; both are sorted and without overlaps."""
    at = 0
    for each in wanted:
        start = each.start
        while at < len(held) and held[at].stop <= start:
            at += 1
        for other in held[at:]:
            if other.start >= each.stop:
                break
            if other.start > start:
                yield range(start, other.start)
            start = max(start, other.stop)
        if start < each.stop:
            yield range(start, each.stop)
