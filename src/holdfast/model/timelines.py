"""Which WAL there is, what is missing, and what a backup needs of it: pure arithmetic on numbers.

Segments are counted from the very first one of a cluster, and all its timelines share the count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

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
    """What is archived of one timeline, and by its history where it left others."""

    number: int
    segments: frozenset[int] = frozenset()
    switches: tuple[Switch, ...] = ()
    stored_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterWal:
    """All that is archived of one cluster, its timelines by their numbers."""

    cluster: str
    segment_bytes: int
    timelines: dict[int, Timeline] = field(default_factory=dict)

    def name(self, timeline: int, number: int) -> str:
        return numbered_name(timeline, number, segment_bytes=self.segment_bytes)

    def segment_at(self, lsn: str) -> int:
        return Position.parse(lsn).segment(self.segment_bytes)

    def gaps(self, timeline: int) -> list[Stretch]:
        """What is missing of a timeline between what is there and where others branch off."""
        found = self.timelines[timeline]
        ends = [self.segment_at(at) - 1 for at in self._branches(timeline)]
        starts = [self.segment_at(each.at) for each in found.switches[-1:]]
        wanted = [*found.segments, *(end for end in ends if found.segments), *starts]
        if not wanted or not found.segments:
            return []
        whole = Stretch(timeline=timeline, first=min(wanted), last=max(wanted))
        return list(missing([whole], {timeline: runs(found.segments)}))

    def needed_after(self, timeline: int, lsn: str) -> list[Stretch]:
        """What a backup that begins there needs to be brought to the end of every timeline that
        goes on from it, as far as anything is archived."""
        start = self.segment_at(lsn)
        found = [self.path(timeline, start, end) for end in self._ends_after(timeline, lsn)]
        return sorted({each for path in found for each in path}, key=lambda each: each.first)

    def path(self, timeline: int, start: int, end: int) -> list[Stretch]:
        """From segment `start` of `timeline` to the last that is archived of timeline `end`."""
        line = self.timelines[end]
        steps = [*((each.timeline, self.segment_at(each.at)) for each in line.switches)]
        steps = steps[[each for each, _ in steps].index(timeline) :] if end != timeline else []
        path: list[Stretch] = []
        for number, left_at in steps:
            path.append(Stretch(timeline=number, first=start, last=left_at - 1))
            start = left_at
        path.append(Stretch(timeline=end, first=start, last=max(line.segments, default=start)))
        # A history may say anything: where a timeline was left before it began there is none of it.
        return [each for each in path if each.first <= each.last]

    def _ends_after(self, timeline: int, lsn: str) -> Iterator[int]:
        for number, line in self.timelines.items():
            if number == timeline and line.segments:
                yield number
            for switch in line.switches:
                if switch.timeline == timeline and Position.parse(switch.at) >= Position.parse(lsn):
                    yield number

    def _branches(self, timeline: int) -> Iterator[str]:
        for line in self.timelines.values():
            for switch in line.switches:
                if switch.timeline == timeline:
                    yield switch.at


def missing(wanted: Iterable[Stretch], there: Mapping[int, Iterable[range]]) -> Iterator[Stretch]:
    """What of `wanted` is not `there`, by timeline; each segment is told once.

    By first and last alone: between two names that anybody may give there are millions of others.
    """
    asked: defaultdict[int, list[range]] = defaultdict(list)
    for each in wanted:
        asked[each.timeline].append(range(each.first, each.last + 1))
    for timeline, ranges in sorted(asked.items()):
        for gap in _without(_joined(ranges), _joined(there.get(timeline, ()))):
            yield Stretch(timeline=timeline, first=gap.start, last=gap.stop - 1)


def runs(numbers: Iterable[int]) -> list[range]:
    """Numbers as what is without a hole."""
    return _joined(range(number, number + 1) for number in numbers)


def _joined(ranges: Iterable[range]) -> list[range]:
    """In their order; those that meet or overlap are one."""
    found: list[range] = []
    for each in sorted(ranges, key=lambda each: each.start):
        if found and each.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, each.stop))
        elif each:
            found.append(each)
    return found


def _without(wanted: Iterable[range], held: Sequence[range]) -> Iterator[range]:
    """What is left of `wanted`; both in their order, and neither overlaps itself."""
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
