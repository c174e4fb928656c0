"""Which backups to keep: pure arithmetic on times, with a reason for each verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from holdfast.model.lazy_dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How many backups to keep, and for how long; 0 or None disables a rule.

    `last` counts backups, `within` is their age. The others count calendar periods (UTC) that hold
    a backup, and keep the newest backup of each period.
    """

    last: int = 0
    within: timedelta | None = None
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0

    @property
    def keeps_everything(self) -> bool:
        periods = self.daily or self.weekly or self.monthly or self.yearly
        return not (self.last or self.within or periods)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A finished backup as retention sees it; each `group` (a database) is judged separately.

    `proven_at` is when all of it was last read back and found intact, `drilled_at` when a drill
    last brought it back. `damaged` means that it was found damaged, `in_flight` that its run is
    still in progress. `parent` is the id of the backup that an incremental one needs.
    """

    backup_id: str
    taken_at: datetime
    group: str = ""
    proven_at: datetime | None = None
    drilled_at: datetime | None = None
    damaged: bool = False
    in_flight: bool = False
    parent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Keep or drop one backup, and why."""

    candidate: Candidate
    keep: bool
    because: str


DAY = timedelta(days=1)
Period = Callable[[datetime], tuple[int, ...]]

RULES: tuple[tuple[str, Callable[[Policy], int], Period], ...] = (
    ("daily", lambda policy: policy.daily, lambda at: (at.year, at.month, at.day)),
    ("weekly", lambda policy: policy.weekly, lambda at: at.isocalendar()[:2]),
    ("monthly", lambda policy: policy.monthly, lambda at: (at.year, at.month)),
    ("yearly", lambda policy: policy.yearly, lambda at: (at.year,)),
)


def plan(candidates: Iterable[Candidate], policy: Policy, *, now: datetime) -> list[Verdict]:
    """A verdict on every candidate, newest first.

    The newest backup of each group is always kept, and so are the newest that was proven good and
    the newest that a drill brought back.
    Damaged backups are judged separately: they never take the place of a good one. If an
    incremental backup is kept, so is every backup that it needs.
    """
    newest_first = sorted(candidates, key=_age_order, reverse=True)
    reasons: dict[str, list[str]] = {}
    for judged in {(each.group, each.damaged) for each in newest_first}:
        alike = [each for each in newest_first if (each.group, each.damaged) == judged]
        reasons |= _reasons(alike, policy, now)
    _keep_parents(newest_first, reasons)
    return [
        Verdict(
            candidate=candidate,
            keep=bool(reasons[candidate.backup_id]),
            because=", ".join(reasons[candidate.backup_id]) or "no rule keeps it",
        )
        for candidate in newest_first
    ]


def _age_order(candidate: Candidate) -> tuple[datetime, str]:
    """By time; the id only orders backups of the same instant."""
    return candidate.taken_at, candidate.backup_id


def _reasons(newest_first: list[Candidate], policy: Policy, now: datetime) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {each.backup_id: [] for each in newest_first}
    if policy.keeps_everything:
        for held in reasons.values():
            held.append("no retention is set")
        return reasons
    for position, candidate in enumerate(newest_first[: policy.last], start=1):
        reasons[candidate.backup_id].append(f"last {position} of {policy.last}")
    for candidate in newest_first:
        if policy.within is not None and now - candidate.taken_at <= policy.within:
            reasons[candidate.backup_id].append(f"younger than {policy.within / DAY:g} days")
    for rule, count_in, period_of in RULES:
        count = count_in(policy)
        for position, candidate in enumerate(_newest_of_each(newest_first, period_of, count), 1):
            reasons[candidate.backup_id].append(f"{rule} {position} of {count}")
    for candidate, because in _never_dropped(newest_first):
        if not reasons[candidate.backup_id]:
            reasons[candidate.backup_id].append(because)
    return reasons


def _keep_parents(newest_first: list[Candidate], reasons: dict[str, list[str]]) -> None:
    """Keep the whole chain of every kept backup, even if wrong clocks disordered it."""
    known = {each.backup_id: each for each in newest_first}
    waiting = [each for each in newest_first if reasons[each.backup_id]]
    while waiting:
        child = waiting.pop()
        parent = known.get(child.parent)
        if parent is not None and not reasons[parent.backup_id]:
            reasons[parent.backup_id].append(f"parent of {child.backup_id}")
            waiting.append(parent)


def _never_dropped(newest_first: list[Candidate]) -> Iterable[tuple[Candidate, str]]:
    """The backups that are kept regardless of the rules."""
    yield newest_first[0], "the newest is always kept"
    proven = [each for each in newest_first if each.proven_at is not None and not each.damaged]
    if proven:
        yield proven[0], "the newest verified backup is always kept"
    drilled = [each for each in newest_first if each.drilled_at is not None and not each.damaged]
    if drilled:
        yield drilled[0], "the newest that a drill brought back is always kept"
    for candidate in newest_first:
        if candidate.in_flight:
            yield candidate, "its run is still in progress"


def _newest_of_each(
    newest_first: list[Candidate], period_of: Period, count: int
) -> list[Candidate]:
    newest: dict[tuple[int, ...], Candidate] = {}
    for candidate in newest_first:
        newest.setdefault(period_of(candidate.taken_at), candidate)
    return list(newest.values())[:count]
