"""Which backups to keep: pure arithmetic on names and times, with a reason for each verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How many periods back a backup is kept; 0 means that the rule is not used.

    `last` counts backups; the others count calendar periods (UTC) that hold a backup, and keep
    the newest of each period.
    """

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0

    @property
    def keeps_everything(self) -> bool:
        return not (self.last or self.daily or self.weekly or self.monthly or self.yearly)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A finished backup as retention sees it; each `group` (a database) is judged by itself."""

    backup_id: str
    taken_at: datetime
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Keep or drop one backup, and why."""

    candidate: Candidate
    keep: bool
    because: str


Period = Callable[[datetime], tuple[int, ...]]

RULES: tuple[tuple[str, Callable[[Policy], int], Period], ...] = (
    ("daily", lambda policy: policy.daily, lambda at: (at.year, at.month, at.day)),
    ("weekly", lambda policy: policy.weekly, lambda at: at.isocalendar()[:2]),
    ("monthly", lambda policy: policy.monthly, lambda at: (at.year, at.month)),
    ("yearly", lambda policy: policy.yearly, lambda at: (at.year,)),
)


def plan(candidates: Iterable[Candidate], policy: Policy) -> list[Verdict]:
    """A verdict on every candidate, newest first; the newest one of a group is always kept."""
    newest_first = sorted(candidates, key=lambda each: each.taken_at, reverse=True)
    reasons: dict[str, list[str]] = {}
    for group in {each.group for each in newest_first}:
        reasons |= _reasons([each for each in newest_first if each.group == group], policy)
    return [
        Verdict(
            candidate=candidate,
            keep=bool(reasons[candidate.backup_id]),
            because=", ".join(reasons[candidate.backup_id]) or "no rule keeps it",
        )
        for candidate in newest_first
    ]


def _reasons(newest_first: list[Candidate], policy: Policy) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {each.backup_id: [] for each in newest_first}
    if policy.keeps_everything:
        for held in reasons.values():
            held.append("no retention is set")
        return reasons
    for position, candidate in enumerate(newest_first[: policy.last], start=1):
        reasons[candidate.backup_id].append(f"last {position} of {policy.last}")
    for rule, count_in, period_of in RULES:
        count = count_in(policy)
        for position, candidate in enumerate(_newest_of_each(newest_first, period_of, count), 1):
            reasons[candidate.backup_id].append(f"{rule} {position} of {count}")
    if newest_first and not reasons[newest_first[0].backup_id]:
        reasons[newest_first[0].backup_id].append("the newest is always kept")
    return reasons


def _newest_of_each(
    newest_first: list[Candidate], period_of: Period, count: int
) -> list[Candidate]:
    newest: dict[tuple[int, ...], Candidate] = {}
    for candidate in newest_first:
        newest.setdefault(period_of(candidate.taken_at), candidate)
    return list(newest.values())[:count]
