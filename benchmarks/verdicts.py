"""Measured values against targets, and against an earlier version: pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.results import Cost, Measured, PhaseResult, Results
from benchmarks.targets import TARGETS, Measure, Target

MB = 1e6
# Differences below this say nothing, however alike the rounds were.
LEAST_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was measured for a target; nothing where the run left a contender out."""

    target: Target
    title: str
    value: float | None
    peer: str = ""
    spread: float = 0.0
    """How far the rounds differ, as a share: the least that a change must exceed to count."""

    @property
    def is_met(self) -> bool:
        return self.value is not None and self.value <= self.target.at_most

    @property
    def word(self) -> str:
        if self.value is None:
            return "not measured"
        return "met" if self.is_met else "missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A target's value that differs from the earlier version by more than the rounds differ."""

    verdict: Verdict
    before: float
    tolerance: float

    @property
    def factor(self) -> float:
        return (self.verdict.value or 0.0) / self.before

    @property
    def is_slower(self) -> bool:
        return self.factor > 1


def verdicts(results: Results, targets: Sequence[Target] = TARGETS) -> list[Verdict]:
    """One for each target whose workload was measured."""
    return [
        _verdict(target, workload.title, workload.phase(target.phase))
        for target in targets
        if (workload := results.workload(target.workload))
    ]


def _verdict(target: Target, title: str, phase: PhaseResult | None) -> Verdict:
    ours = phase.find(target.contender) if phase else None
    if phase is None or ours is None:
        return Verdict(target=target, title=title, value=None)
    if target.measure is not Measure.RATIO:
        return _alone(target, title, ours)
    peers = [found for key in target.peers if (found := phase.find(key))]
    if len(peers) < len(target.peers):
        return Verdict(target=target, title=title, value=None)
    best = min(peers, key=lambda peer: peer.seconds)
    return Verdict(
        target=target,
        title=title,
        value=ours.seconds / best.seconds,
        peer=best.name,
        spread=max(ours.spread(), best.spread()),
    )


def _alone(target: Target, title: str, ours: Measured) -> Verdict:
    if target.measure is Measure.PEAK_MB:
        spread = ours.spread(_peak)
        return Verdict(target=target, title=title, value=ours.peak_bytes / MB, spread=spread)
    spread = ours.spread(_cpu)
    return Verdict(target=target, title=title, value=ours.cpu_seconds * 1000, spread=spread)


def _peak(cost: Cost) -> float:
    return cost.peak_bytes


def _cpu(cost: Cost) -> float:
    return cost.client_cpu_seconds


def ratio(ours: Measured, peer: Measured) -> float:
    """Our wall time to the peer's: below 1 we are faster."""
    return ours.seconds / peer.seconds


def changes(now: Results, before: Results, targets: Sequence[Target] = TARGETS) -> list[Change]:
    """What became slower or faster since the earlier version, beyond the spread of the rounds.

    Ratios to peers of the same run are compared, so another machine does not count as a change.
    """
    return list(_changes(verdicts(now, targets), verdicts(before, targets)))


def _changes(now: Sequence[Verdict], before: Sequence[Verdict]) -> Iterator[Change]:
    earlier = {verdict.target: verdict for verdict in before}
    for verdict in now:
        old = earlier.get(verdict.target)
        if old is None or old.value is None or verdict.value is None or not old.value:
            continue
        tolerance = max(LEAST_TOLERANCE, verdict.spread, old.spread)
        change = Change(verdict=verdict, before=old.value, tolerance=tolerance)
        if not 1 / (1 + tolerance) <= change.factor <= 1 + tolerance:
            yield change
